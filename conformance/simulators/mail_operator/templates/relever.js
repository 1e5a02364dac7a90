// Says that something changed in the folder, without moving the page under its reader.
const folder = document.querySelector("[data-folder]");
const notice = document.querySelector("#nouveau");

async function look() {
  try {
    const answer = await fetch(folder.dataset.folder);
    const mails = await answer.json();
    const newest = mails.length ? String(mails[0].id) : "";
    if (newest !== folder.dataset.newest && notice.hidden) {
      notice.hidden = false;
    }
  } catch {
    // The operator is stopped: the next look will tell.
  }
}

setInterval(look, 3000);
