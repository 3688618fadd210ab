//! The CEL rules of a schema. In: the compiled schema, and an object with its defaults. Out: the rules that the object breaks. As
//! the kube crate's own walk, except that a regular expression is compiled once and not for each value, and that only values
//! with rules are converted. It must not know other parts of the schema.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::cel::cel::extractors::This;
use kube::core::cel::cel::objects::{Key, Map};
use kube::core::cel::cel::{Context, FunctionContext, Value as CelValue};
use kube::core::cel::{CompilationError, CompilationResult, CompiledSchema, KubeCelExt, compile_schema};
use regex::Regex;
use serde_json::Value;

use super::join_path;

/// The rules of a value and of what is in it.
#[derive(Debug)]
pub(super) struct CelRules {
    own: Vec<CelRule>,
    /// Fields with rules.
    fields: BTreeMap<String, CelRules>,
    items: Option<Box<CelRules>>,
}

#[derive(Debug)]
struct CelRule {
    compiled: CompilationResult,
    /// The rule holds where this field is absent.
    needs: Option<String>,
    /// Calls in it.
    calls: usize,
    /// Whether some of them are repeated for each item of a list.
    repeats: bool,
}

/// Items of a list in a rule, at least.
const ITEMS: usize = 8;

impl CelRule {
    fn new(compiled: CompilationResult) -> Self {
        let text = &compiled.rule.rule;
        let needs = text.strip_prefix("!has(self.").and_then(|rest| rest.split_once(") || "));
        let needs = needs.filter(|(field, rest)| !field.contains(['.', ')']) && !rest.contains('?'));
        Self {
            needs: needs.map(|(field, _)| field.to_owned()),
            calls: 1 + text.matches('(').count(),
            repeats: [".all(", ".exists(", ".map("].iter().any(|word| text.contains(word)),
            compiled,
        }
    }

    /// What it takes to evaluate it, in calls; 0 where it holds without.
    fn cost(&self, value: &Value) -> usize {
        let fields = value.as_object();
        if self.needs.as_ref().is_some_and(|field| fields.is_some_and(|fields| !fields.contains_key(field))) {
            return 0;
        }
        let lists = fields.into_iter().flat_map(|fields| fields.values().filter_map(Value::as_array));
        let items = || lists.map(Vec::len).max().unwrap_or_default().max(ITEMS);
        if self.repeats { self.calls.saturating_mul(items()) } else { self.calls }
    }
}

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BrokenRule {
    /// Path of the field.
    pub field: String,
    /// The message of the rule, or why it cannot be evaluated.
    pub message: String,
    /// Whether it could be evaluated.
    pub is_evaluated: bool,
    /// Path of the value that has the rule.
    of: String,
    /// The rule.
    text: String,
}

impl BrokenRule {
    /// Whether the rule compares the value of the field at `path`, and does not only test whether there is one.
    pub fn compares(&self, path: &str) -> bool {
        let inside = path.strip_prefix(&self.of).filter(|rest| self.of.is_empty() || rest.starts_with(['.', '[']));
        let Some(inside) = inside else { return false };
        let mut names = inside.split('.').map(|part| part.split('[').next().unwrap_or(part));
        let values = without_presence(&self.text);
        let is_name = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        let has_name = |name: &str| {
            values.match_indices(name).any(|(at, _)| values[..at].ends_with('.') && is_name(&values[at + name.len()..]))
        };
        names.all(|name| name.is_empty() || has_name(name))
    }
}

/// A rule without its `has(…)`.
fn without_presence(rule: &str) -> String {
    let mut parts = rule.split("has(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

impl CelRules {
    pub(super) fn compile(openapi: &Value) -> Result<Self, CompilationError> {
        Self::of(compile_schema(openapi))
    }

    fn of(schema: CompiledSchema) -> Result<Self, CompilationError> {
        let fields = schema.properties.into_iter().map(|(name, schema)| Ok((name, Self::of(schema)?)));
        let mut fields = fields.collect::<Result<BTreeMap<_, _>, _>>()?;
        fields.retain(|_, rules| !rules.is_empty());
        let items = schema.items.map(|items| Self::of(*items)).transpose()?.filter(|rules| !rules.is_empty());
        let own = schema.validations.into_iter().map(|rule| rule.map(CelRule::new)).collect::<Result<_, _>>()?;
        Ok(Self { own, fields, items: items.map(Box::new) })
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.fields.is_empty() && self.items.is_none()
    }

    /// What it takes to evaluate the rules of a value, in calls.
    pub(super) fn cost(&self, value: &Value) -> usize {
        let own: usize = self.own.iter().map(|rule| rule.cost(value)).sum();
        let inside: usize = match value {
            Value::Object(fields) => {
                let known = self.fields.iter();
                known.filter_map(|(name, rules)| Some(rules.cost(fields.get(name)?))).sum()
            }
            Value::Array(items) => self.items.iter().flat_map(|rules| items.iter().map(|item| rules.cost(item))).sum(),
            _ => 0,
        };
        own + inside
    }

    fn collect(&self, functions: &Context<'_>, path: &str, value: &Value, broken: &mut Vec<BrokenRule>) {
        let mut own = self.own.iter().filter(|rule| rule.cost(value) > 0).peekable();
        if own.peek().is_some() {
            let mut variables = functions.new_inner_scope();
            variables.add_variable_from_value("self", converted(value));
            broken.extend(own.filter_map(|rule| evaluate(&rule.compiled, &variables, path)));
        }
        if let Value::Object(fields) = value {
            for (name, rules) in &self.fields {
                if let Some(value) = fields.get(name) {
                    rules.collect(functions, &join_path(path, name), value, broken);
                }
            }
        }
        if let (Some(rules), Value::Array(items)) = (&self.items, value) {
            for (index, item) in items.iter().enumerate() {
                rules.collect(functions, &format!("{path}[{index}]"), item, broken);
            }
        }
    }
}

fn evaluate(rule: &CompilationResult, variables: &Context<'_>, path: &str) -> Option<BrokenRule> {
    let (message, is_evaluated) = match rule.program.execute(variables) {
        Ok(CelValue::Bool(true)) => return None,
        Ok(CelValue::Bool(false)) => (rule.rule.message.as_ref().unwrap_or(&rule.rule.rule).clone(), true),
        Ok(_) => (format!("rule evaluation: {:?} is not a boolean", rule.rule.rule), false),
        Err(error) => (format!("rule evaluation: {:?}: {error}", rule.rule.rule), false),
    };
    let below = rule.rule.field_path.as_deref().unwrap_or_default();
    let field = format!("{path}{below}").trim_start_matches('.').to_owned();
    Some(BrokenRule { field, message, is_evaluated, of: path.to_owned(), text: rule.rule.rule.clone() })
}

/// No field that a rule names needs to be escaped, and no value has a format.
fn converted(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            _ => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(converted).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), converted(value)));
            CelValue::Map(Map { map: Arc::new(fields.collect()) })
        }
    }
}

/// What rules may call.
pub(super) struct Evaluator {
    functions: Context<'static>,
    /// All that were used so far: constants of the rules.
    regexes: Arc<Mutex<BTreeMap<String, Regex>>>,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").field("regexes", &self.compiled()).finish_non_exhaustive()
    }
}

impl Evaluator {
    pub(super) fn new() -> Self {
        let regexes: Arc<Mutex<BTreeMap<String, Regex>>> = Arc::default();
        let mut functions = Context::default().with_all();
        let cache = Arc::clone(&regexes);
        functions.add_function(
            "matches",
            move |context: &FunctionContext<'_, '_>, This(text): This<Arc<String>>, regex: Arc<String>| {
                is_match(&cache, &text, &regex).map_err(|error| context.error(error))
            },
        );
        Self { functions, regexes }
    }

    /// The rules that `object` breaks.
    pub(super) fn broken(&self, rules: &CelRules, object: &Value) -> Vec<BrokenRule> {
        let mut broken = Vec::new();
        rules.collect(&self.functions, "", object, &mut broken);
        broken
    }

    /// How many regular expressions were compiled.
    fn compiled(&self) -> usize {
        self.regexes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn is_match(cache: &Mutex<BTreeMap<String, Regex>>, text: &str, regex: &str) -> Result<bool, regex::Error> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = cache.get(regex) {
        return Ok(known.is_match(text));
    }
    Ok(cache.entry(regex.to_owned()).or_insert(Regex::new(regex)?).is_match(text))
}

#[cfg(test)]
pub(super) mod tests {
    use kube::core::cel;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::kind::{Kind, crds};

    thread_local! {
        static BOTH: (cel::Validator, Evaluator, BTreeMap<Kind, (Value, cel::CompiledSchema, CelRules)>) = {
            let compiled = |openapi: Value| {
                let rules = CelRules::compile(&openapi).unwrap();
                let compiled = compile_schema(&openapi);
                (openapi, compiled, rules)
            };
            let schemas = Kind::ALL.iter().map(|kind| (*kind, compiled(crds::schema(*kind).unwrap()))).collect();
            (cel::Validator::new(), Evaluator::new(), schemas)
        };
    }

    /// The same rules are broken as by the kube crate.
    pub(in super::super) fn as_kube(kind: Kind, object: &Value) -> Result<(), TestCaseError> {
        let (errors, found) = BOTH.with(|(kube, evaluator, schemas)| {
            let (openapi, compiled, rules) = &schemas[&kind];
            (
                kube.validate_compiled(compiled, object, None),
                evaluator.broken(rules, &cel::apply_defaults(openapi, object)),
            )
        });
        let field = |error: &cel::ValidationError| error.field_path.trim_start_matches('.').to_owned();
        let evaluated = |error: &cel::ValidationError| error.kind == cel::ErrorKind::ValidationFailure;
        let mut wanted: Vec<_> = errors
            .err()
            .into_iter()
            .flatten()
            .map(|error| (field(&error), evaluated(&error).then_some(error.message)))
            .collect();
        let mut found: Vec<_> =
            found.into_iter().map(|rule| (rule.field, rule.is_evaluated.then_some(rule.message))).collect();
        wanted.sort();
        found.sort();
        prop_assert_eq!(found, wanted);
        Ok(())
    }

    fn count(rules: &CelRules) -> usize {
        rules.own.len() + rules.fields.values().chain(rules.items.as_deref()).map(count).sum::<usize>()
    }

    /// The fields of a schema that rules may name, and its rules.
    fn names_and_rules(schema: &Value) -> (Vec<String>, usize) {
        let (mut names, mut rules) = (Vec::new(), 0);
        let mut pending = vec![schema];
        while let Some(node) = pending.pop() {
            match node {
                Value::Object(keywords) => {
                    rules += keywords.get("x-kubernetes-validations").and_then(Value::as_array).map_or(0, Vec::len);
                    names.extend(
                        keywords
                            .get("properties")
                            .and_then(Value::as_object)
                            .into_iter()
                            .flat_map(|p| p.keys())
                            .cloned(),
                    );
                    pending.extend(keywords.values());
                }
                Value::Array(items) => pending.extend(items),
                _ => {}
            }
        }
        (names, rules)
    }

    #[test]
    fn every_rule_of_a_schema_is_evaluated_on_fields_that_need_no_escape() {
        for kind in Kind::ALL {
            let schema = crds::schema(*kind).unwrap();
            let (names, rules) = names_and_rules(&schema);
            assert_eq!(count(&CelRules::compile(&schema).unwrap()), rules, "{kind}");
            assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())), "{names:?}");
        }
    }

    #[test]
    fn a_regular_expression_is_compiled_once() {
        let rules = CelRules::compile(&crds::schema(Kind::L3VNI).unwrap()).unwrap();
        let evaluator = Evaluator::new();
        let compiled: Vec<_> = ["red", "blue", "pe-100"]
            .map(|name| json!({"metadata": {"name": name}, "spec": {"asn": 1, "vni": 1, "vxlanport": 1}}))
            .map(|object| (evaluator.broken(&rules, &object).len(), evaluator.compiled()))
            .into();
        assert_eq!(compiled, [(0, 2), (0, 2), (1, 2)]);
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_is_broken() {
        let broken = |rule: &str| {
            let rules =
                CelRules::compile(&json!({"x-kubernetes-validations": [{"rule": rule, "message": "m"}]})).unwrap();
            let broken = Evaluator::new().broken(&rules, &json!({"a": 1}));
            broken.into_iter().map(|rule| (rule.message, rule.is_evaluated)).collect::<Vec<_>>()
        };
        assert_eq!(broken("self.a == 1"), []);
        assert_eq!(broken("self.a == 2"), [("m".to_owned(), true)]);
        assert_eq!(broken("self.a"), [("rule evaluation: \"self.a\" is not a boolean".to_owned(), false)]);
        assert!(
            broken("self.b == 1")
                .iter()
                .all(|(message, is_evaluated)| message.contains("rule evaluation") && !is_evaluated)
        );
        assert_eq!(broken("self.b == 1").len(), 1);
        assert_eq!(broken("'a'.matches('(')").len(), 1);
    }
}
