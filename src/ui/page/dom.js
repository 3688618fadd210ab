// Elements of the page. All text is set as text, never as HTML: peers and objects supply it.

/** An element with classes, attributes and children; a child is an element or a text, and what is null is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}
