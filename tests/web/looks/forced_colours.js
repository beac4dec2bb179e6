// Which buttons are nothing but a colour, which forced colours take away.
() => [...document.querySelectorAll('button, .button')].filter((node) => {
                const style = getComputedStyle(node);
                return node.checkVisibility() && style.borderStyle === 'none' && !node.textContent.trim() && !node.querySelector('svg');
            }).map((node) => node.outerHTML.slice(0, 120))
