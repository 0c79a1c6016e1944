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

// Tables of results: columns of words are read from the left, columns of numbers stay on the right
addEventListener('load', () => {
  const isNumber = text => /^[-+−~<]?[\d.]/.test(text.trim());
  for (const table of document.querySelectorAll('.cell_output table:not(.docutils)')) {
    const rows = [...table.rows], body = table.tBodies[0] ? [...table.tBodies[0].rows] : [];
    for (let fromEnd = 1; fromEnd <= Math.max(0, ...body.map(row => row.cells.length)); fromEnd++) {
      const cellsOf = some => some.map(row => row.cells[row.cells.length - fromEnd]).filter(Boolean);
      const texts = cellsOf(body).map(cell => cell.textContent).filter(text => text.trim());
      if (!texts.length || texts.some(isNumber)) continue;
      for (const cell of cellsOf(rows)) if (cell.colSpan === 1) cell.style.textAlign = 'left';
    }
  }
});
