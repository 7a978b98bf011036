// SPDX-License-Identifier: MIT
// Copyright The Headcount authors

// The script behind <script defer src="https://HOST/h.js" data-domain="example.com"></script>.
//
// It must stay at or under 1,000 bytes after `gzip -9` (tests/unit/test_tracker.py), which explains its shape:
//
// * One function, `look`, does everything. It runs four times a second and on a few events, and compares what
//   it sees with what it saw before. So it need not replace functions of the page: a router may use pushState,
//   replaceState, the Navigation API or the fragment, and a redirect that lasts for an instant is no page view.
// * A page is counted when somebody can see it. A prerendered page and a tab opened in the background are
//   hidden (document.hidden), and are counted once they are shown, if they are.
// * `let` alone, comparisons with ==, and repeated words instead of names for them: this packs best.
//
// It keeps no cookie and stores nothing, but for the visitor's own wish not to be counted. It never throws into
// the page, and never calls preventDefault. The block keeps its names out of the page's own.
{
  let { src, dataset: { domain: d, api, exclude, status, hash } } = document.currentScript,
    // Calls of headcount(), also those from before this script had loaded, wait here for the next look.
    queue = self.headcount?.q || [],
    // Names of one letter are fields of the body (tracker/README.md). `h`: the fragment is part of the page.
    h = hash == null ? undefined : 1,
    // The page as last counted: its address, and the path (and fragment) that tells it from the next.
    u,
    path,
    // Scroll depth in percent, the deepest seen and the deepest sent; milliseconds of engagement not yet sent.
    depth,
    sent,
    engaged,
    // The visitor's own wish, true while it is not to be counted.
    off,
    // Only the first page view of a document has the referrer; later ones came from the site itself.
    r = document.referrer,

    // Posted as text, the body needs no CORS preflight. `keepalive` lets it outlive the page; sendBeacon would
    // too, but it always sends cookies along. What fails (an ad blocker, a property that is no JSON) is dropped.
    send = async (n, more) => {
      try {
        off ||
          path.match("^(" + exclude?.split("*").join(".*").split(/, */).join("|") + ")$") ||
          (await fetch(api || new URL("/api/event", src), {
            keepalive: 1,
            method: "POST",
            credentials: "omit",
            body: JSON.stringify({ n, u, d, r, h, w: screen.width, ...more }),
          }));
      } catch {}
    },

    // `event` is 0 when the timer calls.
    look = (event) => {
      // Reading storage throws where the browser forbids it. Such visitors are counted, as they cannot object here.
      try {
        if (location.hash == "#headcount-off") localStorage["headcount-off"] = 1;
        if (location.hash == "#headcount-on") delete localStorage["headcount-off"];
        off = localStorage["headcount-off"];
      } catch {}

      // The query tells no pages apart: typing into a search box may rewrite it with every key.
      let next = location.pathname + (h ? location.hash : "");
      // `persisted`: back from the back/forward cache, with all variables as they were.
      if (document.hidden || event.persisted || next != path) {
        // The old page is left: by its address and, if it is excluded, not at all.
        if (depth > sent || engaged >= 3e3) send("engagement", { sd: (sent = depth), e: engaged }, (engaged = 0));
        if (!document.hidden) {
          path = next;
          u = h ? location.href : location.href.split("#")[0];
          send("pageview", (sent = depth = engaged = 0));
          r = "";
        }
      } else {
        // Not on a change of page, when the document may be that of the new page already. The 0.4 makes up for
        // fractions of pixels that can never be scrolled to.
        let seen = ((scrollY + innerHeight) / document.documentElement.scrollHeight) * 100.4 | 0;
        if (seen > depth) depth = seen;
        event || (engaged += 250 * document.hasFocus());
      }

      let submit = event.type == "submit";
      if (submit) send("Form: Submission", { p: { path: location.pathname } });
      // Main and middle button; the other one opens a menu. Not every target has `closest`: the document has not.
      if (submit | (event.button < 2)) {
        let link = event.target.closest?.("[href]");
        // "http…" sorts before "n", and the origin of mailto:, tel:, javascript: and data: is the word "null".
        if (link?.origin < "n") {
          // Without query and fragment, where signatures, tokens and addresses are.
          let url = link.origin + link.pathname,
            name = /\.(csv|docx?|pdf|xlsx?|zip|gz|dmg|exe|mp[34])$/i.test(url)
              ? "File Download"
              : link.origin != location.origin && "Outbound Link: Click";
          if (name) send(name, { p: { url } });
        }
        // Only forms have `elements`: a form counts when it is sent, anything else when it is clicked.
        let tag = event.target.closest?.("[data-hc-event]");
        if (tag && !tag.elements != submit) send(tag.dataset.hcEvent);
      }

      // Last, so that the page view comes first; and not before there was one.
      if (u) queue.splice(0).map((call) => send(...call));
    };

  // Defined in any case, so that pages can call it for visitors who are not counted.
  self.headcount = (...call) => queue.push(call);

  if (
    !(
      navigator.doNotTrack == 1 ||
      navigator.webdriver ||
      navigator.globalPrivacyControl ||
      // "host,domain": the host is none (file:) or this machine, and the domain is not.
      /^(|.*localhost|127[.\d]+|\[::1]),(?!.*localhost$)/.test([location.hostname, d])
    )
  ) {
    if (status) headcount(status, { p: { path: location.pathname } });
    // Capturing, so that a page that stops its events is counted as well. The page's end is a visibilitychange.
    "pageshow click auxclick submit visibilitychange".split(" ").map((type) => addEventListener(type, look, 1));
    setInterval(look, 250, 0);
    look(0);
  }
}
