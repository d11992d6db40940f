// A picture that answers: PNG bytes, its state in words, and named places on it that a mouse or a key can press.
function render({ model, el }) {
  const frame = document.createElement("div"), img = document.createElement("img"), say = document.createElement("p");
  el.classList.add("mnclglf-picture");
  frame.className = "frame";
  say.className = "words";
  say.setAttribute("role", "status"); // a screen reader says it whenever it changes
  frame.append(img);
  el.append(frame, say);
  let url = "";

  function draw() {
    const old = url;
    url = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    img.onload = () => URL.revokeObjectURL(old); // not before: an empty frame would flicker
    img.src = url;
    img.style.width = `${model.get("width")}px`;
    img.alt = model.get("alt");
  }

  function tell() {
    const wrong = model.get("problem");
    say.textContent = wrong || model.get("words");
    say.classList.toggle("problem", Boolean(wrong));
  }

  function put() { // buttons are kept where names stay, so that the focus stays too
    const old = new Map([...frame.querySelectorAll("button")].map((button) => [button.dataset.name, button]));
    const names = new Set(model.get("places").map((place) => place.name));
    for (const [name, button] of old) if (!names.has(name)) button.remove();
    let last = img;
    for (const place of model.get("places")) {
      const button = old.get(place.name) || document.createElement("button");
      button.type = "button";
      button.dataset.name = place.name;
      button.title = place.label;
      button.setAttribute("aria-label", place.label);
      button.setAttribute("aria-pressed", String(place.name === model.get("chosen")));
      ["left", "top", "width", "height"].forEach((side, i) => { button.style[side] = `${100 * place.box[i]}%`; });
      button.onclick = () => {
        model.set("chosen", place.name);
        model.save_changes();
      };
      if (last.nextSibling !== button) last.after(button); // one that is moved loses the focus
      last = button;
    }
  }

  // JupyterLab would take the arrow keys out of a drop-down menu, to move from cell to cell: plain keys stay in ours
  function keep(event) {
    const theirs = event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");
    if (!theirs && event.target.matches?.(".mnclglf-explorer select")) event.stopPropagation();
  }

  window.addEventListener("keydown", keep, true);
  const answers = { "change:png": draw, "change:words change:problem": tell, "change:places change:chosen": put };
  for (const [events, answer] of Object.entries(answers)) model.on(events, answer);
  draw();
  tell();
  put();
  return () => {
    window.removeEventListener("keydown", keep, true);
    for (const [events, answer] of Object.entries(answers)) model.off(events, answer);
    URL.revokeObjectURL(url);
  };
}

export default { render };
