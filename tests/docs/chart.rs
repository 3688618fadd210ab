//! Values of the Helm chart on the pages. In: the text of a page and `values.yaml`. Out: names that the chart does not have.

use serde_json::Value;

/// Names after `--set`, and in the first column of a table of values, that `values.yaml` does not have.
pub fn unknown_values(text: &str, values: &Value) -> Vec<String> {
    let exists = |name: &&str| values.pointer(&format!("/{}", name.replace('.', "/"))).is_some();
    settings(text).chain(table(text)).filter(|name| !exists(name)).map(str::to_owned).collect()
}

/// `--set a.b=1,c=2` → `a.b`, `c`.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    let arguments = text.split("--set ").skip(1).filter_map(|rest| rest.split([' ', '`', '\n']).next());
    arguments.flat_map(|argument| argument.split(',')).filter_map(|setting| Some(setting.split_once('=')?.0))
}

fn table(text: &str) -> impl Iterator<Item = &str> {
    let tables = text.split("\n| value | default |").skip(1);
    let rows = tables.flat_map(|rest| rest.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2))
}
