// Renews the part of the page that changes, every two seconds. The server writes and escapes all
// text; the page is complete without this script.
(function () {
    'use strict';

    var PAUSE = 2000;
    var LONGEST_PAUSE = 30000;
    var live = document.getElementById('live');
    var status = document.getElementById('connection');
    var button = document.getElementById('pause');
    var pause = PAUSE;
    var paused = false;

    function say(text) {
        if (status.textContent !== text) {
            status.textContent = text;
        }
        status.hidden = text === '';
    }

    // A user who selects text is not interrupted.
    function selects() {
        var selection = window.getSelection();
        return selection !== null && !selection.isCollapsed && live.contains(selection.anchorNode);
    }

    function show(html) {
        var focused = live.contains(document.activeElement) ? document.activeElement.id : '';
        var checked = Array.prototype.map.call(live.querySelectorAll('input:checked'), function (box) {
            return box.id;
        });
        var scrolled = Array.prototype.map.call(live.querySelectorAll('.scroll, pre'), function (box) {
            return box.scrollLeft;
        });
        live.innerHTML = html;
        Array.prototype.forEach.call(live.querySelectorAll('.scroll, pre'), function (box, index) {
            box.scrollLeft = scrolled[index] || 0;
        });
        checked.forEach(function (id) {
            var box = document.getElementById(id);
            if (box !== null) {
                box.checked = true;
            }
        });
        var again = focused === '' ? null : document.getElementById(focused);
        if (again !== null) {
            again.focus({preventScroll: true});
        }
    }

    function renew() {
        if (paused || document.hidden || selects()) {
            wait();
            return;
        }
        var abort = new AbortController();
        var deadline = setTimeout(function () { abort.abort(); }, LONGEST_PAUSE);
        fetch(live.dataset.url, {credentials: 'same-origin', redirect: 'error', signal: abort.signal})
            .then(function (answer) {
                if (answer.status === 401 || answer.status === 403) {
                    throw new Error('You are no longer allowed to see this page. Reload it.');
                }
                if (!answer.ok) {
                    throw new Error('The server answers with ' + answer.status + '. Trying again.');
                }
                return answer.text();
            })
            .then(function (html) {
                pause = PAUSE;
                say('');
                if (!paused && !selects()) {
                    show(html);
                }
            })
            .catch(function (error) {
                pause = Math.min(LONGEST_PAUSE, pause * 2);
                say(error instanceof TypeError || error.name === 'AbortError' ? 'The server does not answer. Trying again.' : error.message);
            })
            .then(function () {
                clearTimeout(deadline);
                wait();
            });
    }

    function wait() {
        setTimeout(renew, pause * (0.9 + Math.random() * 0.2));
    }

    document.addEventListener('submit', function (event) {
        var question = event.target.dataset.confirm;
        if (question && !window.confirm(question)) {
            event.preventDefault();
        }
    });
    button.addEventListener('click', function () {
        paused = !paused;
        button.setAttribute('aria-pressed', String(paused));
    });
    button.hidden = false;
    wait();
})();
