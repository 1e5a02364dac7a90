// Hears what changed, for all tabs of one person over one connection: browsers allow only six to a server.
// hear(kind, change): "ready" = look at everything again; "conversation", "inbox" = a change; "cut" = no connection.

import { isOver } from "./net.js";

const PATIENCE = 3000;

export function listen(person, hear) {
  const name = `hub-live-${person}`;
  const tabs = "BroadcastChannel" in window ? new BroadcastChannel(name) : null;
  let mine = null;
  let heard = 0;

  const tell = (kind, change) => {
    hear(kind, change);
    tabs?.postMessage({ kind, change });
  };
  tabs?.addEventListener("message", ({ data }) => {
    if (data.kind === "hello") {
      if (mine?.isUp()) tabs.postMessage({ kind: "ready" });
      return;
    }
    heard = Date.now();
    hear(data.kind, data.change);
  });

  const lead = (steal) => {
    if (!tabs || !navigator.locks) {
      mine ??= connect(tell);
      return;
    }
    navigator.locks
      .request(name, { steal }, () => new Promise(() => { mine ??= connect(tell); }))
      .catch(() => { mine?.close(); mine = null; lead(false); }); // another tab took over
  };
  lead(false);
  tabs?.postMessage({ kind: "hello" });

  // A tab that wakes up asks whether anybody still listens; a leader frozen in the background does not answer.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    hear("ready");
    if (mine || !tabs) return;
    const asked = Date.now();
    tabs.postMessage({ kind: "hello" });
    setTimeout(() => { if (heard < asked && !mine && !document.hidden) lead(true); }, PATIENCE);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) hear("ready"); });
}

function connect(tell) {
  let source = null;
  let wait = 1000;
  let up = false;
  let closed = false;
  const open = () => {
    if (closed || isOver()) return;
    source = new EventSource("/live");
    source.addEventListener("ready", () => { up = true; wait = 1000; tell("ready"); });
    source.addEventListener("conversation", (event) => tell("conversation", JSON.parse(event.data)));
    source.addEventListener("inbox", (event) => tell("inbox", JSON.parse(event.data)));
    source.onerror = () => {
      up = false;
      tell("cut");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 30000);
    };
  };
  open();
  return { isUp: () => up, close: () => { closed = true; source?.close(); } };
}
