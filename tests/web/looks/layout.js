// What looks wrong to anybody on a page as it stands, in sentences.
() => {
  const found = [];
  const describe = (node) => node.tagName.toLowerCase() + (node.id ? '#' + node.id : '')
    + (node.className && node.className.baseVal === undefined ? '.' + String(node.className).trim().replace(/\s+/g, '.') : '')
    + ' "' + (node.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40) + '"';
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) found.push('the page is ' + (root.scrollWidth - window.innerWidth) + ' px too wide');
  const visible = [...document.body.querySelectorAll('*')].filter((node) => node.checkVisibility({opacityProperty: true, visibilityProperty: true}));
  for (const node of visible) {
    if (node.closest('[data-sr], .sr, svg, canvas, iframe')) continue;
    const style = getComputedStyle(node);
    const scrolls = ['auto', 'scroll'].includes(style.overflowX);
    if (!scrolls && node.clientWidth && node.scrollWidth > node.clientWidth + 1 && style.display !== 'inline')
      found.push('cut or spilling by ' + (node.scrollWidth - node.clientWidth) + ' px: ' + describe(node));
  }
  if (!document.querySelector('dialog[open]')) {
    const rectangles = [];
    for (const node of visible) {
      if (node.closest('[data-sr], .sr, option, select, svg, canvas, .u-over, .u-legend')) continue;
      for (const child of node.childNodes) {
        if (child.nodeType !== 3 || !child.textContent.trim()) continue;
        const range = document.createRange();
        range.selectNodeContents(child);
        for (const box of range.getClientRects())
          if (box.width > 1 && box.height > 1) rectangles.push({box, node});
      }
    }
    const sticky = (node) => { for (let at = node; at; at = at.parentElement) if (['sticky', 'fixed'].includes(getComputedStyle(at).position)) return true; return false; };
    for (let one = 0; one < rectangles.length; one++)
      for (let other = one + 1; other < rectangles.length; other++) {
        const a = rectangles[one].box, b = rectangles[other].box;
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 2 && down > 3 && rectangles[one].node !== rectangles[other].node
            && !sticky(rectangles[one].node) && !sticky(rectangles[other].node))
          found.push('text over text: ' + describe(rectangles[one].node) + ' and ' + describe(rectangles[other].node));
      }
  }
  return found;
}
