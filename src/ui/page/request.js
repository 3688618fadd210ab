// Requests that use FRR's time. In: a path of the server and its query. Out: the document, or a problem in words.

/** `{ document }`, or `{ problem }`. The header says that this page sends it: the server accepts no request of another site. */
export async function request(path, query) {
  try {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`, { headers: { "X-Perouter": "page" } });
    const document = await response.json();
    return response.ok ? { document } : { problem: document.problem };
  } catch {
    return { problem: "no connection to `perouter ui`" };
  }
}
