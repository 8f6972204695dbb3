type Child = Node | string | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | undefined | ((event: never) => void)>>;

function fill<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** An HTML element; a function among the attributes listens to the event of that name. */
export const h = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = <K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

let ids = 0;
export const uniqueId = (prefix: string) => `${prefix}-${++ids}`;

/** A choice among a few, as a labelled list. */
export function choice(
  label: string,
  options: readonly (readonly [value: string, text: string])[],
  value: string,
  onChange: (value: string) => void,
): HTMLElement {
  const select = h("select", { change: () => onChange(select.value) });
  for (const [key, text] of options) {
    select.append(h("option", { value: key, selected: key === value }, text));
  }
  return h("label", { class: "control" }, h("span", {}, label), select);
}

/** Some of which one is on, as buttons. */
export function switcher(
  label: string,
  options: readonly (readonly [value: string, text: string])[],
  value: string,
  onChange: (value: string) => void,
): HTMLElement {
  const buttons = options.map(([key, text]) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(key === value),
        click: () => {
          for (const [k, button] of buttons.entries())
            button.setAttribute("aria-pressed", String(options[k][0] === key));
          onChange(key);
        },
      },
      text,
    ),
  );
  return h("div", { class: "switcher", role: "group", "aria-label": label }, ...buttons);
}

export function slider(
  label: string,
  range: { readonly min: number; readonly max: number; readonly step: number; readonly value: number },
  onInput: (value: number) => void,
): HTMLElement {
  const input = h("input", { type: "range", ...range, input: () => onInput(input.valueAsNumber) });
  return h("label", { class: "control" }, h("span", {}, label), input);
}

export function checkbox(label: string, checked: boolean, onChange: (on: boolean) => void): HTMLElement {
  const input = h("input", { type: "checkbox", checked, change: () => onChange(input.checked) });
  return h("label", { class: "check" }, input, h("span", {}, label));
}

/** Calls with the element's width, now and whenever it changes. */
export function onWidth(element: HTMLElement, draw: (width: number) => void): void {
  let known = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== known) {
      known = width;
      draw(width);
    }
  }).observe(element);
}

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
