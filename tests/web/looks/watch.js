// Collects what a browser says of its own work while a page loads: layout shifts and long tasks. Runs before the page.
(() => {
  window.looked = { shift: 0, longest: 0 };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.looked.shift += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.looked.longest = Math.max(window.looked.longest, entry.duration);
  }).observe({ type: 'longtask', buffered: true });
})();
