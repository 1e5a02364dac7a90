// Writing: the draft is kept on this device, a message shows at once, is sent in order, and is never sent twice.

import { ask, isOver, parsed } from "./net.js";
import { conversation, labelDays, place, toEnd } from "./thread.js";

const WAITS = [1000, 3000, 8000]; // milliseconds before each new try of the same message
const form = document.getElementById("composer");
const text = document.getElementById("texte");
const picker = document.getElementById("fichiers");
const list = document.getElementById("messages");
const problem = document.getElementById("probleme");
const chosenList = document.getElementById("choisis");
const MOST_BYTES = 15 * 1024 * 1024;
const TYPES = ["application/pdf", "image/jpeg", "image/png"];

let chosen = [];
const queue = []; // in the order written; `stopped` is "" while it is being sent, else "cut" or "refused"
let sending = false;

export function startComposer() {
  if (!form) return;
  text.value ||= kept("draft") ?? "";
  text.addEventListener("input", () => { keep("draft", text.value); say(""); grow(); });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", submit);
  picker.addEventListener("change", () => { choose([...picker.files]); picker.value = ""; });
  text.addEventListener("paste", (event) => choose([...event.clipboardData.files]));
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.toggle("over", over);
      if (name === "drop") choose([...event.dataTransfer.files]);
    });
  }
  addEventListener("online", resume);
  restore();
}

// Tries again what waits, at once: the connection is back.
export function resume() {
  for (const one of queue) {
    one.tries = 0;
    one.wake?.();
    if (one.stopped === "cut") restart(one);
  }
  work();
}

function submit(event) {
  event.preventDefault();
  const written = text.value.trim();
  if (!written && !chosen.length) {
    say("Écrivez un message ou joignez un document.");
    text.focus();
    return;
  }
  const message = { key: uuid(), text: written, files: chosen, tries: 0, stopped: "" };
  chosen = [];
  showChosen();
  text.value = "";
  say("");
  add(message);
  keep("draft", "");
  text.focus();
}

function add(message) {
  message.element = bubble(message);
  list.append(message.element);
  labelDays();
  toEnd();
  queue.push(message);
  keepQueue();
  work();
}

async function work() {
  if (sending) return;
  sending = true;
  for (let next = waiting(); next && !isOver(); next = waiting()) await attempt(next);
  sending = false;
}

function waiting() {
  return queue.find((one) => !one.stopped);
}

async function attempt(message) {
  status(message, "Envoi en cours…");
  try {
    const html = await ask(`/conversations/${conversation}/messages`, { method: "POST", body: body(message), seconds: message.files.length ? 120 : 20 });
    done(message, parsed(html).querySelector("li"));
  } catch (refusal) {
    if (list.querySelector(`[data-key="${message.key}"]:not(.pending)`)) return done(message, null); // it came through, only the answer was lost
    if (refusal.status === 401) return stop(message, "cut", "Non envoyé : session terminée. Le texte est gardé.");
    if (!refusal.again) return stop(message, "refused", `Non envoyé. ${refusal.message} Rien n'est perdu.`);
    if (message.tries >= WAITS.length) return stop(message, "cut", `Non envoyé. ${refusal.message} Le texte est gardé ; réessayez dès que la connexion revient.`);
    status(message, "En attente d'envoi, nouvelle tentative…");
    await new Promise((resolve) => {
      message.wake = resolve;
      setTimeout(resolve, WAITS[message.tries++]);
    });
  }
}

function done(message, fresh) {
  queue.splice(queue.indexOf(message), 1);
  if (fresh) place(fresh);
  message.element.remove();
  labelDays();
  keepQueue();
}

function stop(message, why, words) {
  message.stopped = why;
  message.element.classList.add("failed");
  status(message, words);
  const again = button("Réessayer", () => { restart(message); work(); });
  const back = button("Reprendre le texte", () => {
    text.value = [message.text, text.value].filter(Boolean).join("\n");
    keep("draft", text.value);
    choose(message.files);
    done(message, null);
    text.focus();
    work();
  });
  const row = document.createElement("div");
  row.className = "retry";
  row.append(again, back);
  message.element.querySelector(".retry")?.remove();
  message.element.querySelector(".bubble").append(row);
  say(words);
}

function restart(message) {
  Object.assign(message, { stopped: "", tries: 0 });
  message.element.classList.remove("failed");
  message.element.querySelector(".retry")?.remove();
  say("");
}

function bubble(message) {
  const item = element("li", "message mine pending");
  item.dataset.key = message.key;
  item.dataset.day = "Aujourd'hui";
  const inner = element("div", "bubble");
  const words = element("div", "text", message.text);
  words.dir = "auto";
  if (message.text) inner.append(words);
  message.files.forEach((file) => inner.append(element("p", "soft", file.name)));
  inner.append(element("p", "meta", ""));
  item.append(inner);
  return item;
}

function status(message, words) {
  message.element.querySelector(".meta").textContent = words;
}

function body(message) {
  const sent = new FormData();
  sent.set("csrf", document.body.dataset.csrf);
  sent.set("cle", message.key);
  sent.set("texte", message.text);
  message.files.forEach((file) => sent.append("fichiers", file, file.name));
  return sent;
}

function choose(files) {
  const good = files.filter((file) => TYPES.includes(file.type));
  if (good.length < files.length) say("Ce type de fichier ne s'envoie pas : choisissez un PDF, une photo JPEG ou PNG.");
  const all = [...chosen, ...good];
  if (all.length > 10 || all.reduce((sum, file) => sum + file.size, 0) > MOST_BYTES) {
    say("Dix documents et 15 Mo au plus par message : envoyez le reste dans un autre message.");
    return;
  }
  chosen = all;
  showChosen();
}

function showChosen() {
  chosenList.replaceChildren(...chosen.map((file) => {
    const item = element("li", "");
    const remove = button("×", () => { chosen = chosen.filter((one) => one !== file); showChosen(); picker.focus(); });
    remove.className = "";
    remove.setAttribute("aria-label", `Retirer ${file.name}`);
    item.append(element("span", "", file.name), remove);
    return item;
  }));
  chosenList.hidden = chosen.length === 0;
}

// What was not confirmed when the page was closed is sent again under the same key: the server makes it once.
function restore() {
  for (const one of JSON.parse(kept("queue") ?? "[]")) {
    if (list.querySelector(`[data-key="${CSS.escape(one.key)}"]`)) continue;
    if (!one.files) {
      add({ key: one.key, text: one.text, files: [], tries: 0, stopped: "" });
    } else {
      text.value = [one.text, text.value].filter(Boolean).join("\n");
      keep("draft", text.value);
      say("Un message avec document n'était pas parti : votre texte est là, choisissez à nouveau le document.");
    }
  }
  keepQueue();
}

// For browsers that do not grow a field with its content by themselves.
function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function keepQueue() {
  keep("queue", queue.length ? JSON.stringify(queue.map((one) => ({ key: one.key, text: one.text, files: one.files.length }))) : "");
}

function slot(what) {
  return `hub.${what}.${document.body.dataset.person}.${conversation}`;
}

function keep(what, value) {
  try {
    if (value) localStorage.setItem(slot(what), value);
    else localStorage.removeItem(slot(what));
  } catch {
    // A browser without storage (private window, full disk) still writes and sends.
  }
}

function kept(what) {
  try {
    return localStorage.getItem(slot(what));
  } catch {
    return null;
  }
}

function say(words) {
  problem.textContent = words;
  problem.hidden = !words;
}

function button(label, act) {
  const made = element("button", "button", label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function element(name, look, words = "") {
  const made = document.createElement(name);
  if (look) made.className = look;
  made.textContent = words;
  return made;
}

// crypto.randomUUID exists only on secure origins; the demo is also tried from a phone over plain http.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
