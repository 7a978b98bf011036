// A single-page application with a router from npm, as a site owner might have it. It knows nothing of the
// script that counts it. With <html data-routing="hash"> its pages are fragments, else paths of the history.
import { h, render } from "preact";
import { useState } from "preact/hooks";
import { Link, Redirect, Route, Router, Switch, useLocation, useSearchParams } from "wouter-preact";
import { useHashLocation } from "wouter-preact/use-hash-location";

const Search = () => {
  const [, setParams] = useSearchParams();
  const type = (event) => setParams({ q: event.target.value }, { replace: true });
  return h("main", {}, h("h1", {}, "Shop"), h("input", { id: "search", onInput: type }));
};

const Item = ({ params }) => {
  const [bought, setBought] = useState(false);
  const [, go] = useLocation();
  const buy = async () => {
    setBought(true);
    await new Promise((soon) => setTimeout(soon, 50));
    go("/thanks");
  };
  const button = h("button", { id: "buy", onClick: buy, disabled: bought }, "Buy");
  return h("main", {}, h("h1", {}, `Item ${params.id}`), button);
};

const Shop = () =>
  h("div", {}, [
    h("nav", {}, [
      h(Link, { href: "/", id: "home" }, "Home"),
      h(Link, { href: "/items/7", id: "item" }, "Item 7"),
      h(Link, { href: "/account", id: "account" }, "Account"),
    ]),
    h(Switch, {}, [
      h(Route, { path: "/", component: Search }),
      h(Route, { path: "/items/:id", component: Item }),
      h(Route, { path: "/account" }, h(Redirect, { to: "/login", replace: true })),
      h(Route, { path: "/login" }, h("h1", {}, "Log in")),
      h(Route, { path: "/thanks" }, h("h1", {}, "Thanks")),
    ]),
  ]);

const routing = document.documentElement.dataset.routing == "hash" ? { hook: useHashLocation } : {};
render(h(Router, routing, h(Shop)), document.body);
