// Summaries in the search results, where the browser may fetch pages
if (location.protocol !== 'file:' && window.DOCUMENTATION_OPTIONS) DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = true;

// A to Z: a field that leaves only the rows with the typed words
addEventListener('load', () => {
  const title = document.querySelector('h1');
  const table = document.querySelector('article table');
  if (!title || !title.textContent.startsWith('A to Z') || !table) return;
  const field = Object.assign(document.createElement('input'), {type: 'search', placeholder: 'Filter', className: 'filter'});
  field.setAttribute('aria-label', 'Filter the names');
  table.closest('.table-wrapper, table').insertAdjacentElement('beforebegin', field);
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) row.hidden = !words.every(w => row.textContent.toLowerCase().includes(w));
  });
});

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
