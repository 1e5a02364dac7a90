// Passkeys: a button asks the server what to ask the authenticator for, and tells it what came.

import { ask, notice } from "./net.js";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));

function text(buffer) {
  const characters = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(characters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function read(options) {
  const named = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));
  return {
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    ...(options.excludeCredentials && { excludeCredentials: named(options.excludeCredentials) }),
    ...(options.allowCredentials && { allowCredentials: named(options.allowCredentials) }),
  };
}

function written({ id, rawId, type, response, authenticatorAttachment }) {
  const parts = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) parts[name] = text(response[name]);
  }
  if (response.getTransports) parts.transports = response.getTransports();
  return JSON.stringify({ id, rawId: text(rawId), type, response: parts, authenticatorAttachment });
}

async function run(button) {
  const { passkey, ask: asking, tell, csrf, back = "/", name = "", nameFrom } = button.dataset;
  const form = (more) => new URLSearchParams({ csrf, suite: back, ...more });
  const { options, scelle } = JSON.parse(await ask(asking, { method: "POST", body: form({}) }));
  const publicKey = read(options);
  const made = passkey === "create"
    ? await navigator.credentials.create({ publicKey })
    : await navigator.credentials.get({ publicKey });
  const nom = nameFrom ? document.getElementById(nameFrom).value : name;
  const told = await ask(tell, { method: "POST", body: form({ reponse: written(made), scelle, nom }) });
  location.assign(JSON.parse(told).suite);
}

function words(problem) {
  if (problem.name === "NotAllowedError") return "Rien n'a été fait : la demande a été annulée ou a expiré.";
  if (problem.name === "InvalidStateError") return "Cet appareil a déjà une clé d'accès pour ce compte.";
  return problem.message;
}

for (const button of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential || location.hostname !== button.dataset.host) continue;
  button.hidden = false;
  const place = button.closest("[data-passkey-place]");
  if (place) place.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    notice();
    try {
      await run(button);
    } catch (problem) {
      notice(words(problem));
    } finally {
      button.disabled = false;
    }
  });
}
