// Keeps the open conversation up to date: new messages come in by id, so nothing is lost and nothing shows twice.

import { ask, oneAtATime, parsed } from "./net.js";

const NEAR = 80; // pixels from the end that still count as "at the end"
const list = document.getElementById("messages");
const scroller = document.getElementById("fil");
const arrived = document.getElementById("arrives");
const spoken = document.getElementById("annonce");
export const conversation = document.querySelector("[data-conversation]")?.dataset.conversation ?? null;

let marking = "";
let following = true; // the reader is at the end: what makes the list longer or the room smaller moves with them

export function startThread() {
  toEnd();
  arrived.addEventListener("click", () => {
    toEnd("smooth");
    document.getElementById("texte")?.focus({ preventScroll: true });
  });
  const observer = new ResizeObserver(() => { if (following) toEnd(); });
  observer.observe(list);
  observer.observe(scroller);
  for (const target of [scroller, window]) target.addEventListener("scroll", reachedEnd, { passive: true });
  document.addEventListener("visibilitychange", markRead);
  document.getElementById("plus-tot").addEventListener("click", older);
  markRead();
}

export const refreshThread = oneAtATime(once);

// Puts one message where it belongs: over itself, over what the composer showed for it, or in order.
export function place(fresh, before = null) {
  const key = fresh.dataset.key;
  const same = document.getElementById(fresh.id) ?? (key ? list.querySelector(`.pending[data-key="${CSS.escape(key)}"]`) : null);
  if (!same) {
    list.insertBefore(fresh, before ?? list.querySelector(".pending"));
    return true;
  }
  if (bare(same) !== bare(fresh)) {
    const focused = same.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    same.replaceWith(fresh);
    if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
  return false;
}

export function labelDays() {
  let day = "";
  for (const message of list.children) {
    message.toggleAttribute("data-first", message.dataset.day !== day);
    day = message.dataset.day;
  }
  document.getElementById("aucun")?.remove();
}

export function toEnd(behavior = "instant") {
  const box = scrolled();
  box.scrollTo({ top: box.scrollHeight, behavior });
  following = true;
  arrived.hidden = true;
}

async function once() {
  const fresh = parsed(await stillOpen(ask(`/fragments/conversations/${conversation}`)));
  const messages = [...fresh.querySelectorAll("#messages > li")];
  const shown = [...list.children].filter((one) => !one.classList.contains("pending"));
  // More came while we were away than one page holds: start again from this page, the rest is behind its button.
  const gap = shown.length > 0 && messages.length > 0 && !messages.some((one) => document.getElementById(one.id));
  if (gap || shown.length === 0) document.getElementById("plus-tot").replaceWith(withOlder(fresh.querySelector("#plus-tot")));
  if (gap) shown.forEach((one) => one.remove());
  const news = [];
  let before = null;
  for (const message of messages.reverse()) {
    if (place(message, before) && !message.classList.contains("mine")) news.unshift(message);
    before = document.getElementById(message.id);
  }
  if (messages.length || list.children.length) labelDays();
  for (const id of ["titre", "etat", "membres"]) swap(document.getElementById(id), fresh.getElementById(id));
  heard(news);
  markRead();
}

// What the person may no longer see leaves the screen at once, and is not kept for the way back.
async function stillOpen(asked) {
  try {
    return await asked;
  } catch (problem) {
    if (problem.status === 404 || problem.status === 403) {
      document.querySelector("main").replaceChildren();
      location.replace("/");
    }
    throw problem;
  }
}

function heard(news) {
  if (news.length) spoken.textContent = news.map((one) => one.dataset.spoken).join(". ");
  if (following) toEnd();
  else if (news.length) arrived.hidden = false;
}

// A part of the header: its children are replaced, the part itself keeps whether it is open, the focus stays.
function swap(old, fresh) {
  if (!old || !fresh || old.innerHTML === fresh.innerHTML) {
    if (old && fresh) copyData(old, fresh);
    return;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  copyData(old, fresh);
  old.replaceChildren(...fresh.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function copyData(old, fresh) {
  for (const [name, value] of Object.entries(fresh.dataset)) old.dataset[name] = value;
}

async function older(event) {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  link.setAttribute("aria-busy", "true");
  const query = new URL(link.href).search;
  try {
    const fresh = parsed(await ask(`/fragments/conversations/${conversation}${query}`));
    const box = scrolled();
    const fromEnd = box.scrollHeight - box.scrollTop;
    const first = list.firstElementChild;
    for (const message of fresh.querySelectorAll("#messages > li")) place(message, first);
    document.getElementById("plus-tot").replaceWith(withOlder(fresh.querySelector("#plus-tot")));
    labelDays();
    box.scrollTop = box.scrollHeight - fromEnd;
    scroller.focus({ preventScroll: true });
  } catch (problem) {
    link.removeAttribute("aria-busy");
    link.textContent = `${problem.message} Réessayer`;
  }
}

function withOlder(element) {
  element.addEventListener("click", older);
  return element;
}

// Read = the last message is on the screen of somebody who looks at it.
async function markRead() {
  const state = document.getElementById("etat");
  const last = [...list.children].findLast((one) => one.id.startsWith("m-"))?.id.slice(2) ?? "";
  if (!state || state.dataset.unread !== "1" || document.visibilityState !== "visible" || !following) return;
  if (marking === last) return;
  marking = last;
  try {
    const body = new URLSearchParams({ csrf: document.body.dataset.csrf, etat: "lu", vu: last });
    await ask(`/conversations/${conversation}/etat`, { method: "POST", body });
    state.dataset.unread = "0";
  } catch {
    // The next change or look at the page tries again.
  } finally {
    marking = "";
  }
}

function reachedEnd() {
  following = atEnd();
  if (!following) return;
  arrived.hidden = true;
  markRead();
}

function scrolled() {
  return scroller.scrollHeight > scroller.clientHeight + 1 ? scroller : document.scrollingElement;
}

function atEnd() {
  const box = scrolled();
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
}

function bare(element) {
  const copy = element.cloneNode(true);
  copy.removeAttribute("data-first");
  return copy.outerHTML;
}
