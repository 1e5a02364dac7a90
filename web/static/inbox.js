// Keeps the list of conversations and the counters up to date.

import { ask, oneAtATime, parsed } from "./net.js";

const title = document.title;

export const refreshInbox = oneAtATime(once);

export function showCount() {
  const unread = Number(document.getElementById("boite")?.dataset.unread ?? 0);
  document.title = unread ? `(${unread}) ${title}` : title;
  const beside = document.getElementById("autres");
  if (!beside) return;
  beside.textContent = unread;
  beside.hidden = !unread;
}

async function once() {
  const list = document.getElementById("boite");
  if (!list) return;
  const query = new URLSearchParams({ vue: list.dataset.view, ouverte: list.dataset.open });
  const after = list.dataset.open ? null : new URLSearchParams(location.search).get("suite");
  if (after) query.set("suite", after);
  const fresh = parsed(await ask(`/fragments/boite?${query}`)).querySelector("#boite");
  if (fresh.outerHTML !== list.outerHTML) {
    const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
    list.replaceWith(fresh);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  showCount();
}
