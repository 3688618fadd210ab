//! The reference. In: the custom resource definitions and the command line. Out: pages in `docs/reference/`. It writes no file.

use std::fmt::Write;

use clap::CommandFactory;
use perouter::cli::Cli;
use perouter::kind::crds::{Definition, definition};
use serde_json::Value;

const GENERATED: &str = "<!-- Generated: make docs-reference -->\n\n";

/// Every page as file name and text.
pub fn pages() -> Vec<(String, String)> {
    let kinds = Definition::all().into_iter().map(|kind| {
        let page = page(&definition(kind).unwrap());
        (format!("{}.md", kind.as_str().to_lowercase()), page)
    });
    kinds.chain([("commands.md".to_owned(), commands())]).collect()
}

fn page(definition: &Value) -> String {
    let (names, version) = (&definition["spec"]["names"], &definition["spec"]["versions"][0]);
    let schema = &version["schema"]["openAPIV3Schema"];
    let group = definition["spec"]["group"].as_str().unwrap();
    let mut text = format!(
        "{GENERATED}# {}\n\n{}\n\n| | |\n|---|---|\n| API version | `{group}/{}` |\n| scope | {} |\n| `kubectl get` | `{}` |\n",
        names["kind"].as_str().unwrap(),
        schema["description"].as_str().unwrap_or_default(),
        version["name"].as_str().unwrap(),
        definition["spec"]["scope"].as_str().unwrap().to_lowercase(),
        resource_names(names),
    );
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        if schema.is_null() {
            continue;
        }
        let fields = fields(schema, part);
        if fields.is_empty() {
            continue;
        }
        write!(text, "\n## {part}\n\n{}\n\n", schema["description"].as_str().unwrap_or_default()).unwrap();
        text.push_str("| field | type | default | |\n|---|---|---|---|\n");
        for field in &fields {
            writeln!(text, "{}", field.row()).unwrap();
        }
    }
    let mut rules = Vec::new();
    collect_rules(schema, "", &mut rules);
    if !rules.is_empty() {
        text.push_str("\n## Rules\n\nWhat the schema of a field does not say. An object that breaks one is rejected with this text.\n\n");
        text.push_str("| field | |\n|---|---|\n");
        for (path, message) in rules {
            writeln!(text, "| `{path}` | {} |", cell(&message)).unwrap();
        }
    }
    text
}

fn resource_names(names: &Value) -> String {
    let short = names["shortNames"].as_array().into_iter().flatten();
    let all = std::iter::once(&names["plural"]).chain(short).filter_map(Value::as_str);
    all.collect::<Vec<_>>().join("`, `")
}

struct Field<'a> {
    path: String,
    required: bool,
    schema: &'a Value,
}

/// The fields below a schema, a list with its elements.
fn fields<'a>(schema: &'a Value, path: &str) -> Vec<Field<'a>> {
    let mut found = Vec::new();
    let required = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let required = required.is_some_and(|names| names.iter().any(|other| other == name));
        found.push(Field { path: path.clone(), required, schema: field });
        let items = &field["items"];
        found.extend(if items.is_null() { fields(field, &path) } else { fields(items, &format!("{path}[]")) });
    }
    found
}

impl Field<'_> {
    fn row(&self) -> String {
        let default = &self.schema["default"];
        let default = if default.is_null() { String::new() } else { format!("`{default}`") };
        let required = if self.required { "**required** " } else { "" };
        let description = self.schema["description"].as_str().unwrap_or_default();
        format!("| `{}` | {} | {default} | {required}{} |", self.path, type_of(self.schema), cell(description))
    }
}

/// The type with its limits.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    let name = schema["type"].as_str().unwrap_or("any");
    match (name, &schema["minimum"], &schema["maximum"]) {
        ("array", ..) => format!("list of {}", type_of(&schema["items"])),
        (_, Value::Number(least), Value::Number(most)) => format!("{name}, {least} to {most}"),
        _ => name.to_owned(),
    }
}

/// Messages of CEL rules with the field that each is about.
fn collect_rules(schema: &Value, path: &str, rules: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        let message = rule["message"].as_str().unwrap_or_default().to_owned();
        let field = field.trim_start_matches('.').to_owned();
        let entry = (if field.is_empty() { "(object)".to_owned() } else { field }, message);
        if !rules.contains(&entry) {
            rules.push(entry);
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        collect_rules(field, &format!("{path}.{name}"), rules);
    }
    if !schema["items"].is_null() {
        collect_rules(&schema["items"], &format!("{path}[]"), rules);
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

/// The help of every subcommand, without the values that environment variables have here.
fn commands() -> String {
    let mut cli = Cli::command().mut_subcommands(|command| command.mut_args(|argument| argument.hide_env_values(true)));
    cli.build();
    let mut text = format!("{GENERATED}# Command line\n\n```text\n{}```\n", tidy(&cli.render_long_help().to_string()));
    for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help" && !command.is_hide_set()) {
        let help = tidy(&command.render_long_help().to_string());
        write!(text, "\n## perouter {}\n\n```text\n{help}```\n", command.get_name()).unwrap();
    }
    text
}

/// Without blanks at the ends of lines.
fn tidy(help: &str) -> String {
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}
