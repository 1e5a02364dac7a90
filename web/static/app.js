// Starts what the page has: the list, the conversation, the composer, and the connection that keeps them up to date.

import { refreshInbox, showCount } from "./inbox.js";
import { listen } from "./live.js";
import { isOver, notice } from "./net.js";
import { conversation, refreshThread, startThread } from "./thread.js";
import { resume, startComposer } from "./composer.js";

const CALM = 4000; // a short cut is nobody's business
const TOGETHER = 40; // milliseconds
const LATER = 3000;
const due = new Set();
let worried = null;

showCount();
if (conversation) {
  startThread();
  startComposer();
}
listen(document.body.dataset.person, hear);

function hear(kind, change) {
  if (kind === "cut") {
    worried ??= setTimeout(() => { if (!isOver()) notice("Connexion perdue. Nouvelle tentative en cours ; ce que vous écrivez est gardé."); }, CALM);
    refresh(refreshInbox); // tells when it is the session that has ended
    return;
  }
  if (kind === "ready") {
    clearTimeout(worried);
    worried = null;
    if (!isOver()) notice();
    resume();
  }
  if (kind !== "conversation") refresh(refreshInbox);
  if (conversation && (kind === "ready" || change?.conversation === conversation)) refresh(refreshThread);
}

// One commit is several changes: they are looked at together. A look that failed is taken again.
function refresh(what) {
  if (due.has(what)) return;
  due.add(what);
  setTimeout(() => {
    due.delete(what);
    what().catch(() => { if (!isOver()) setTimeout(() => refresh(what), LATER); });
  }, TOGETHER);
}
