// The sample app: who is here, and then either a button to sign in or the four boxes.

import { onSeen } from "./watch.js"; // first: it sees everything that the others are answered
import { logout, user } from "/bff/client.js";
import { showBrowser, showProvider, showServices } from "./boxes.js";
import { byId } from "./dom.js";
import { offer } from "./tries.js";

async function start() {
  show("loading");
  let person;
  try {
    person = await user();
  } catch (error) {
    byId("trouble-text").textContent = `${error.message}. That does not mean that you are signed out; nothing of yours was touched.`;
    show("trouble");
    return;
  }
  if (!person) {
    show("signed-out");
    return;
  }
  byId("person-name").textContent = person.name || person.email || person.sub;
  byId("person").hidden = false;
  show("signed-in");
  offer(byId("tries"));

  const browser = () => showBrowser(person.session);
  onSeen(browser);
  for (const event of ["focus", "storage"]) window.addEventListener(event, browser);
  await Promise.all([showProvider(), showServices(), browser()]);
}

/** Shows one of the page's states. */
function show(id) {
  for (const state of ["loading", "trouble", "signed-out", "signed-in"]) byId(state).hidden = state !== id;
}

byId("again").addEventListener("click", () => location.reload());
byId("sign-out").addEventListener("click", async ({ currentTarget }) => {
  currentTarget.disabled = true;
  try {
    await logout({ returnTo: "/" });
  } catch (error) {
    currentTarget.disabled = false;
    byId("trouble-text").textContent = `${error.message}. You are still signed in.`;
    show("trouble");
  }
});

start();
