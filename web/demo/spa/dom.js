// Builds elements. Everything that comes from outside becomes text, never markup.

/** el("p", "note", "some text", otherElement, …) */
export function el(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Fills a box with what its party said. */
export function fill(id, ...children) {
  const place = byId(id).querySelector(".fill");
  place.replaceChildren(...children);
  place.removeAttribute("aria-busy");
}

/** A claim's value as people read it. Times say how far away they are. */
export function shown(name, value) {
  if (name === "act" && value && typeof value === "object") return value.sub;
  if (["exp", "iat", "auth_time", "id_iat"].includes(name) && typeof value === "number") return when(value);
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

function when(seconds) {
  const clock = new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const away = Math.round(seconds - Date.now() / 1000);
  const size = Math.abs(away) < 90 ? `${Math.abs(away)} s` : `${Math.round(Math.abs(away) / 60)} min`;
  return away >= 0 ? `${clock}, in ${size}` : `${clock}, ${size} ago`;
}

/** A definition list of claims; each is {name, value, chip, note, missing}. */
export function claims(list) {
  const dl = el("dl", "claims");
  for (const { name, value, chip, note, missing } of list) {
    const dd = el("dd", "", el("span", missing ? "value missing" : "value", value));
    if (chip || note) dd.append(el("span", "source", chip ? chipOf(chip) : null, note ? el("span", "rule", note) : null));
    dl.append(el("div", "claim", el("dt", "", name), dd));
  }
  return dl;
}

const CHIPS = { "access token": "access", "ID token": "id", Cloakroom: "cloakroom" };

export function chipOf(from) {
  return el("span", `chip ${CHIPS[from] || "cloakroom"}`, from);
}

/** What is there for whoever wants to see more. */
export function more(summary, ...children) {
  return el("details", "more", el("summary", "", summary), ...children);
}
