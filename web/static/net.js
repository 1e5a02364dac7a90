// One way to ask the server: says that a script asks, gives up in time, and tells when the session has ended.

export class Refused extends Error {
  // `status` 0 means that nobody answered; `again` says whether the same request may succeed later.
  constructor(status, text) {
    super(text);
    this.status = status;
    this.again = status === 0 || status === 409 || status === 412 || status === 429 || status >= 500;
  }
}

let over = false;

export const isOver = () => over;

export async function ask(url, { method = "GET", body = null, seconds = 20 } = {}) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), seconds * 1000);
  try {
    const headers = { "Hub-Script": "1" };
    const answer = await fetch(url, { method, body, headers, signal: giveUp.signal, redirect: "error", cache: "no-store" });
    const text = await answer.text();
    if (answer.ok) return text;
    if (answer.status === 401) ended();
    throw new Refused(answer.status, words(text));
  } catch (problem) {
    if (problem instanceof Refused) throw problem;
    throw new Refused(0, "Le serveur ne répond pas.");
  } finally {
    clearTimeout(timer);
  }
}

// Never twice at the same time; asked meanwhile, once more afterwards.
export function oneAtATime(run) {
  let running = null;
  let again = false;
  return function asked() {
    if (running) {
      again = true;
      return running;
    }
    running = run().finally(() => {
      running = null;
      if (!again) return;
      again = false;
      asked().catch(() => {});
    });
    return running;
  };
}

export function parsed(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}

export function notice(...content) {
  const place = document.getElementById("avis");
  place.replaceChildren(...content);
  place.hidden = content.length === 0;
}

function words(text) {
  try {
    const { texte, code } = JSON.parse(text);
    return `${texte} (code ${code})`;
  } catch {
    return "Le serveur a répondu par une erreur.";
  }
}

function ended() {
  over = true;
  const link = document.createElement("a");
  link.href = `/connexion?suite=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Reconnectez-vous";
  notice("Votre session est terminée. Votre texte est gardé sur cet appareil. ", link);
}
