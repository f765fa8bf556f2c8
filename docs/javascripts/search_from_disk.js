/* Copyright: (c) 2026, Mainstay Operations
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The search of the site runs in a worker, and browsers start none for a page that is read from a disk. There this frame takes its place: it has an own global
 * object with the functions of a worker that the search uses. The theme knows it by the name IFrameWorker.
 */
window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    this.waiting = [];
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.appendChild(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", {data}));
    const script = inside.document.createElement("script");
    script.onload = () => {
      this.waiting.forEach(data => this.deliver(data));
      this.waiting = null;
    };
    script.onerror = () => this.dispatchEvent(new ErrorEvent("error", {message: "could not load " + url}));
    script.src = new URL(url, document.baseURI);
    inside.document.body.appendChild(script);
  }

  deliver(data) {
    this.frame.contentWindow.dispatchEvent(new MessageEvent("message", {data}));
  }

  postMessage(data) {
    this.waiting ? this.waiting.push(data) : this.deliver(data);
  }

  terminate() {
    this.frame.remove();
  }
};
if (location.protocol === "file:") window.Worker = window.IFrameWorker;
