// Small repairs for people who use a keyboard or a screen reader
addEventListener('load', () => {
  const reach = () => document.querySelectorAll('pre, .table-wrapper, .cell_output, .math').forEach(e => {
    if (e.scrollWidth > e.clientWidth) e.tabIndex = 0;       // what scrolls can be reached with the keyboard
  });
  document.querySelectorAll('p.caption[role=heading]').forEach(e => e.setAttribute('aria-level', 2));
  document.querySelectorAll('details.hide > summary').forEach(e => e.removeAttribute('aria-label'));
  document.querySelectorAll('details').forEach(e => e.addEventListener('toggle', reach));
  const results = document.querySelector('#search-results');
  if (results && !document.querySelector('h1')) results.insertAdjacentHTML('beforebegin', '<h1>Search</h1>');
  addEventListener('resize', reach);
  reach();
});
