//! CEL behind Hob's own words: compiling with places, what an expression reads, and three-valued answers.
//!
//! This is the only module that knows the `cel` crate. Expressions are pure: no I/O, and time only as the variable
//! `now`. An error while evaluating (a field that is not there, types that do not compare) is [`Answer::Unknown`],
//! never a no: a rule must not resolve an issue because its data went missing.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr};
use cel::{Context, IdedExpr, Program};
use hob_core::{Timestamp, nearest};

use crate::value;

/// Bytes of one expression.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 2048;
/// Operators and calls within one another: evaluating goes as deep as they do.
const DEPTH_MAX: usize = 64;
/// The variable that is the scope's clock.
pub(crate) const NOW: &str = "now";
/// The variable that is an event, or the newest record of a topic.
pub(crate) const EVENT: &str = "event";

const FUNCTIONS: [&str; 31] = [
    "all",
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "has",
    "int",
    "map",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// What an expression says of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    True,
    False,
    /// It cannot be said, and why.
    Unknown(String),
}

/// An expression that cannot be used; line and column are counted from 1 within its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadExpression {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

/// A variable and the field of it that an expression reads; no field means all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Read {
    pub(crate) variable: String,
    pub(crate) field: Option<String>,
    /// Whether the variable is a list, and the field one of its items'.
    pub(crate) is_item: bool,
    node: u64,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    program: Program,
    reads: BTreeSet<Read>,
}

impl Expression {
    /// Compiles a text. The parser goes as deep as the text does before it refuses: call it where the stack is large,
    /// within [`on_a_large_stack`].
    pub(crate) fn compile(text: &str) -> Result<Self, BadExpression> {
        let bad = |what: String, hint| BadExpression { line: 1, column: 1, what, hint };
        if text.len() > EXPRESSION_BYTES_MAX {
            let what =
                format!("the expression has {} bytes; at most {EXPRESSION_BYTES_MAX} are read", text.len());
            return Err(bad(what, Some("split the rule in two".to_owned())));
        }
        let program = Program::compile(text).map_err(|errors| parse_error(&errors))?;
        let mut walk = Walk::default();
        walk.visit(program.expression());
        if let Some((node, what, hint)) = walk.refused {
            let (line, column) = place(&program, text, node);
            return Err(BadExpression { line, column, what, hint });
        }
        Ok(Self { text: text.to_owned(), program, reads: walk.reads })
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it reads.
    pub(crate) fn reads(&self) -> &BTreeSet<Read> {
        &self.reads
    }

    /// Whether its answer may change as time passes.
    pub(crate) fn reads_now(&self) -> bool {
        self.reads.iter().any(|read| read.variable == NOW)
    }

    /// Line and column, counted from 1 within the text, of something that it reads.
    pub(crate) fn place(&self, read: &Read) -> (usize, usize) {
        place(&self.program, &self.text, read.node)
    }
}

/// Runs something where two kilobytes of brackets overflow nothing.
pub(crate) fn on_a_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    const STACK_BYTES: usize = 64 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, work).expect("the system gives a thread");
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn parse_error(errors: &cel::ParseErrors) -> BadExpression {
    let Some(first) = errors.errors.first() else {
        return BadExpression { line: 1, column: 1, what: "not a CEL expression".to_owned(), hint: None };
    };
    let at_least_one = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let message = first.msg.lines().next().unwrap_or_default();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    BadExpression {
        line: at_least_one(first.pos.0),
        column: at_least_one(first.pos.1),
        what: format!("not a CEL expression: {}", message.replace("<EOF>", "the end")),
        hint: None,
    }
}

fn place(program: &Program, text: &str, node: u64) -> (usize, usize) {
    let start = program.source_info().offset_for(node).map_or(0, |(start, _)| start as usize);
    let before: String = text.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[derive(Default)]
struct Walk {
    reads: BTreeSet<Read>,
    /// Names within a macro, each with the variable whose items it is.
    local: Vec<(String, Option<String>)>,
    depth: usize,
    refused: Option<(u64, String, Option<String>)>,
}

impl Walk {
    fn visit(&mut self, node: &IdedExpr) {
        if self.depth >= DEPTH_MAX {
            let what = format!("more than {DEPTH_MAX} operators and calls within one another");
            return self.refuse(node.id, what, Some("split the rule in two".to_owned()));
        }
        self.depth += 1;
        self.visit_parts(node);
        self.depth -= 1;
    }

    fn visit_parts(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => self.read(name, None, node.id),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) => self.read(name, Some(&select.field), select.operand.id),
                _ => self.visit(&select.operand),
            },
            Expr::Call(call) => self.call(call, node.id),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(object) => object.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, node.id),
            Expr::Unspecified | Expr::Literal(_) => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }

    fn call(&mut self, call: &CallExpr, node: u64) {
        let is_word = call.func_name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_word && !FUNCTIONS.contains(&call.func_name.as_str()) {
            let hint = nearest(&call.func_name, FUNCTIONS).map(|near| format!("did you mean `{near}`?"));
            self.refuse(node, format!("there is no function `{}`", call.func_name), hint);
        }
        if let Some(target) = &call.target {
            self.visit(target);
        }
        call.args.iter().for_each(|argument| self.visit(argument));
    }

    /// A macro over a list. One within another is refused: its cost is the product of the lists' lengths.
    fn comprehension(&mut self, comprehension: &ComprehensionExpr, node: u64) {
        if !self.local.is_empty() {
            let hint = "write two rules, or have the service count".to_owned();
            self.refuse(node, "a macro within a macro is not supported".to_owned(), Some(hint));
        }
        let list = match &comprehension.iter_range.expr {
            Expr::Ident(name) if !self.is_local(name) => Some(name.clone()),
            _ => None,
        };
        let before = self.reads.len();
        if list.is_none() {
            self.visit(&comprehension.iter_range);
        }
        self.local.push((comprehension.iter_var.clone(), list.clone()));
        self.local.push((comprehension.accu_var.clone(), None));
        self.local.extend(comprehension.iter_var2.clone().map(|name| (name, None)));
        let parts = [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step];
        parts.into_iter().for_each(|part| self.visit(part));
        self.visit(&comprehension.result);
        self.local.clear();
        let reads_items = |read: &Read| read.is_item && list.as_deref() == Some(read.variable.as_str());
        if let Some(name) =
            list.as_deref().filter(|_| self.reads.len() == before || !self.reads.iter().any(reads_items))
        {
            self.read(name, None, comprehension.iter_range.id);
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.local.iter().any(|(local, _)| local == name)
    }

    fn refuse(&mut self, node: u64, what: String, hint: Option<String>) {
        self.refused.get_or_insert((node, what, hint));
    }

    fn read(&mut self, variable: &str, field: Option<&str>, node: u64) {
        let (variable, is_item) = match self.local.iter().find(|(local, _)| local == variable) {
            None => (variable.to_owned(), false),
            Some((_, Some(list))) => (list.clone(), true),
            Some((_, None)) => return,
        };
        self.reads.insert(Read { variable, field: field.map(str::to_owned), is_item, node });
    }
}

/// One kept evaluation context, whose variables are bound anew for each rule: building one anew costs more than the
/// evaluation.
pub(crate) struct Evaluator {
    context: Context<'static, 'static>,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evaluator")
    }
}

impl Evaluator {
    pub(crate) fn new() -> Self {
        Self { context: Context::default() }
    }

    /// Gives a variable a value, or takes its value away so that reading it is unknown.
    pub(crate) fn bind(&mut self, variable: &str, value: Option<&value::Value>) {
        match value {
            Some(value) => self.context.add_variable_from_value(variable, value.0.clone()),
            None => {
                if let Context::Root { variables, .. } = &mut self.context {
                    variables.remove(variable);
                }
            }
        }
    }

    /// Sets the variable `now`.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.bind(NOW, value::Value::time(now).as_ref());
    }

    /// What the expression gives with the variables as they are bound; nothing when it cannot be worked out.
    pub(crate) fn value(&self, expression: &Expression) -> Option<value::Value> {
        expression.program.execute(&self.context).ok().map(value::Value)
    }

    /// What the expression says with the variables as they are bound.
    pub(crate) fn answer(&self, expression: &Expression) -> Answer {
        match expression.program.execute(&self.context) {
            Ok(cel::Value::Bool(true)) => Answer::True,
            Ok(cel::Value::Bool(false)) => Answer::False,
            Ok(other) => {
                Answer::Unknown(format!("`{}` gave {}, not true or false", expression.text, other.type_of()))
            }
            Err(error) => Answer::Unknown(reason(&error)),
        }
    }
}

fn reason(error: &cel::ExecutionError) -> String {
    match error {
        cel::ExecutionError::NoSuchKey(key) => format!("there is no field `{key}`"),
        cel::ExecutionError::UndeclaredReference(name) => format!("`{name}` is not known yet"),
        other => {
            let text = other.to_string();
            text.chars().take(200).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(text: &str) -> Answer {
        let mut evaluator = Evaluator::new();
        let order = json!({"state": "placed", "late": null, "n": 3, "at": "2026-01-05T12:00:00Z"});
        let types = [("at".to_owned(), value::FieldType::Time)].into();
        let fields = crate::fields::Fields::new(
            order.as_object().unwrap().clone(),
            &mut crate::fields::Shapes::default(),
        );
        evaluator.bind("order", Some(&value::Value::map(&fields, &types, None).done()));
        evaluator.set_now("2026-01-05T12:10:00Z".parse().unwrap());
        evaluator.answer(&Expression::compile(text).unwrap())
    }

    #[test]
    fn missing_is_unknown_and_logic_goes_around_it() {
        assert_eq!(answer("order.state == 'placed' && order.n > 2"), Answer::True);
        assert_eq!(answer("order.late == null"), Answer::True);
        assert_eq!(answer("now - order.at >= duration('10m')"), Answer::True);
        assert_eq!(answer("order.at + duration('11m') < now"), Answer::False);
        assert_eq!(answer("order.gone == 1 && order.n > 5"), Answer::False);
        assert_eq!(answer("order.gone == 1 || order.n > 2"), Answer::True);
        assert_eq!(answer("order.state in ['placed', 'accepted']"), Answer::True);
        assert!(matches!(answer("order.gone == 1"), Answer::Unknown(why) if why.contains("gone")));
        assert!(matches!(answer("rider.on_job"), Answer::Unknown(why) if why.contains("rider")));
        assert!(matches!(answer("order.late < now"), Answer::Unknown(_)));
        assert!(matches!(answer("order.n"), Answer::Unknown(_)));
        assert!(matches!(answer("order.n / 0 == 1"), Answer::Unknown(_)));
    }

    #[test]
    fn reads_are_found_with_their_places() {
        let expression =
            Expression::compile("order.state == 'x' &&\n has(rider.job.id) && [1].exists(i, i > now)")
                .unwrap();
        let reads: Vec<_> =
            expression.reads().iter().map(|r| (r.variable.as_str(), r.field.as_deref())).collect();
        assert_eq!(reads, [("now", None), ("order", Some("state")), ("rider", Some("job"))]);
        let rider = expression.reads().iter().find(|r| r.variable == "rider").unwrap();
        assert_eq!(expression.place(rider), (2, 6));
    }

    #[test]
    fn bad_expressions_say_where() {
        let check = |text: &str, place: (usize, usize), words: &str| {
            let bad = Expression::compile(text).unwrap_err();
            assert_eq!((bad.line, bad.column), place, "{text}: {bad:?}");
            assert!(bad.what.contains(words), "{bad:?}");
        };
        check("order.state = 'x'", (1, 13), "not a CEL expression");
        check("order.a &&\n  && b", (2, 3), "not a CEL expression");
        check("durration('5m') > x", (1, 10), "no function `durration`");
        check("[1].exists(i, [2].exists(j, j > i))", (1, 25), "macro within a macro");
        check(&"a".repeat(3000), (1, 1), "3000 bytes");
        for deep in
            ["(".repeat(2000), format!("{}1{}", "(".repeat(900), ")".repeat(900)), "1+".repeat(900) + "1 > 0"]
        {
            assert!(on_a_large_stack(|| Expression::compile(&deep).map(drop)).is_err(), "{deep}");
        }
        check(&("order.a".to_owned() + &"[0]".repeat(80)), (1, 53), "within one another");
    }
}
