// Which controls cannot be reached or seen by somebody who has a keyboard alone.
async () => {
              const wanted = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
              const found = [];
              for (const node of document.querySelectorAll(wanted)) {
                if (!node.checkVisibility({visibilityProperty: true}) || node.disabled) continue;
                node.focus({focusVisible: true});
                if (document.activeElement !== node) continue;
                const of = node.closest('label') || node;
                const styles = [getComputedStyle(node), getComputedStyle(of)];
                const box = of.getBoundingClientRect();
                const isSeen = styles.some((style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none');
                if (!isSeen || box.width < 1) found.push(node.outerHTML.slice(0, 120));
              }
              return found;
            }
