// Renews the page while it is visible, and sends its forms without leaving it. The server writes and
// escapes all text. Without this script the page is complete, too.
(() => {
    const PAUSE = 400;
    const live = document.getElementById('live');
    const fault = document.getElementById('fault');

    // Makes one node like another and keeps the elements, so that focus, typed text and transitions stay.
    function renew(old, fresh) {
        if (old.nodeName !== fresh.nodeName) {
            old.replaceWith(fresh);
            return;
        }
        if (old.nodeType !== Node.ELEMENT_NODE) {
            if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
            return;
        }
        for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
        for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
        renewChildren(old, fresh);
    }

    function renewChildren(old, fresh) {
        const before = [...old.childNodes];
        [...fresh.childNodes].forEach((node, n) => n < before.length ? renew(before[n], node) : old.append(node));
        before.slice(fresh.childNodes.length).forEach((node) => node.remove());
    }

    function show(html) {
        const page = new DOMParser().parseFromString(`<main>${html}</main>`, 'text/html');
        renewChildren(live, page.querySelector('main'));
    }

    // Returns the text of an answer. The page says why if there is none.
    async function ask(address, options = {}) {
        try {
            const answer = await fetch(address, {headers: {'X-Requested-With': 'XMLHttpRequest'}, ...options});
            if (!answer.ok) throw new Error(`The server answers with ${answer.status}.`);
            fault.hidden = true;
            return await answer.text();
        } catch (error) {
            fault.textContent = error.message;
            fault.hidden = false;
        }
    }

    async function look() {
        const html = document.hidden ? undefined : await ask(live.dataset.url);
        if (html !== undefined) show(html);
    }

    document.addEventListener('submit', async (event) => {
        event.preventDefault();
        const form = event.target;
        const body = new FormData(form, event.submitter);
        const text = form.querySelector('input[name=name]');
        if (await ask(form.action, {method: 'POST', body}) !== undefined && text) text.value = '';
        await look();
    });

    (async () => {
        for (;;) {
            await new Promise((done) => setTimeout(done, PAUSE));
            await look();
        }
    })();
})();
