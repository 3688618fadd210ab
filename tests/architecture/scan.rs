//! What one source file names: its imports, the paths in its code, its submodules, and which lines are tests. In: text.
//! Out: [`Source`]. Paths are as written; [`super::tree`] knows where they lead.

use std::collections::BTreeSet;

use super::lexer::{self, Kind, Token};

/// One leaf of a `use` declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its segments. A glob ends with its module; one that begins with `::` has an empty first segment.
    pub path: Vec<String>,
    /// The name that it has here. `None` for a glob and for `as _`.
    pub name: Option<String>,
    /// `pub` in any form.
    pub public: bool,
    /// The inline modules that it is in.
    pub within: Vec<String>,
    /// Line, from 1.
    pub line: usize,
}

/// A path of at least two segments outside `use` declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Its segments, as in an import.
    pub path: Vec<String>,
    /// The inline modules that it is in.
    pub within: Vec<String>,
    /// Line, from 1.
    pub line: usize,
}

/// What a file names outside its tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its `use` declarations, groups expanded.
    pub imports: Vec<Import>,
    /// Paths in its code, and in strings of attributes, as `schema_with` has them.
    pub mentions: Vec<Mention>,
    /// `mod name;` that are not for tests alone.
    pub modules: BTreeSet<String>,
    /// `mod name;` under `#[cfg(test)]`.
    pub test_modules: BTreeSet<String>,
    /// Lines of items under `#[cfg(test)]`.
    pub test_lines: usize,
}

/// Scans a file.
pub fn scan(source: &str) -> Source {
    let tokens = lexer::tokens(source);
    let mut scanner = Scanner { tokens: &tokens, at: 0, within: Vec::new(), found: Source::default() };
    scanner.walk(tokens.len());
    scanner.found
}

/// The types, traits and aliases that a file declares at its top level, each with its line.
pub fn types(source: &str) -> Vec<(String, usize)> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    let tokens = lexer::tokens(source);
    for (at, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Sign('{' | '(' | '[') => depth += 1,
            Kind::Sign('}' | ')' | ']') => depth = depth.saturating_sub(1),
            Kind::Word(word)
                if depth == 0 && matches!(word.as_str(), "struct" | "enum" | "union" | "trait" | "type") =>
            {
                let name = tokens.get(at + 1).and_then(Token::word);
                found.extend(name.map(|name| (name.to_owned(), token.line)));
            }
            _ => {}
        }
    }
    found
}

struct Scanner<'a> {
    tokens: &'a [Token],
    at: usize,
    within: Vec<String>,
    found: Source,
}

impl Scanner<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at)
    }

    fn is(&self, at: usize, sign: char) -> bool {
        self.token(at).is_some_and(|token| token.is(sign))
    }

    fn word(&self, at: usize) -> Option<&str> {
        self.token(at).and_then(Token::word)
    }

    /// The token after the bracket that closes the one at `open`.
    fn after(&self, open: usize) -> usize {
        let mut depth = 0;
        for at in open..self.tokens.len() {
            match self.tokens[at].kind {
                Kind::Sign('(' | '[' | '{') => depth += 1,
                Kind::Sign(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    fn walk(&mut self, end: usize) {
        while self.at < end {
            match &self.tokens[self.at].kind {
                Kind::Sign('#') => self.attribute(),
                Kind::Word(word) if word == "mod" => self.module(),
                Kind::Word(word) if word == "use" && !self.is(self.at + 1, '<') => self.import(),
                Kind::Word(_) | Kind::PathSeparator => self.mention(),
                _ => self.at += 1,
            }
        }
    }

    fn attribute(&mut self) {
        let start = self.at;
        let open = if self.is(self.at + 1, '!') { self.at + 2 } else { self.at + 1 };
        if !self.is(open, '[') {
            self.at += 1;
            return;
        }
        let end = self.after(open);
        let words: BTreeSet<&str> = self.tokens[open..end].iter().filter_map(Token::word).collect();
        let cfg = self.word(open + 1) == Some("cfg");
        if cfg && words.contains("test") && !words.contains("not") {
            self.test_item(start, end);
            return;
        }
        for token in &self.tokens[open..end] {
            if let Kind::Text(text) = &token.kind {
                let path: Vec<String> = text.split("::").map(ToOwned::to_owned).collect();
                let identifier =
                    |part: &String| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
                if path.len() > 1 && path.iter().all(identifier) {
                    self.found.mentions.push(Mention { path, within: self.within.clone(), line: token.line });
                }
            }
        }
        self.at = open + 1;
        self.walk(end);
    }

    /// Skips the item under `#[cfg(test)]`, whose attribute is from `start` to `end`.
    fn test_item(&mut self, start: usize, end: usize) {
        let mut at = end;
        while self.is(at, '#') && self.is(at + 1, '[') {
            at = self.after(at + 1);
        }
        if self.word(at) == Some("pub") {
            at = if self.is(at + 1, '(') { self.after(at + 1) } else { at + 1 };
        }
        if self.word(at) == Some("mod") && self.is(at + 2, ';') {
            let name = self.word(at + 1).unwrap_or_default().to_owned();
            self.found.test_modules.insert(name);
        }
        at = self.item_end(at);
        let last = self.token(at - 1).map_or(0, |token| token.line);
        self.found.test_lines += last + 1 - self.tokens[start].line;
        self.at = at;
    }

    /// The token after the item at `at`: a declaration, or a field, variant or statement.
    fn item_end(&self, mut at: usize) -> usize {
        let ends_with_semicolon = matches!(self.word(at), Some("use" | "const" | "static" | "type" | "let"));
        let ends_with_braces =
            matches!(self.word(at), Some("fn" | "impl" | "struct" | "enum" | "trait" | "mod" | "async" | "unsafe"));
        while let Some(token) = self.token(at) {
            match token.kind {
                Kind::Sign(';') => return at + 1,
                Kind::Sign(',') if !ends_with_semicolon && !ends_with_braces => return at + 1,
                // The end of what it stands in, after a last field or variant.
                Kind::Sign('}') => return at,
                Kind::Sign('{') if !ends_with_semicolon => return self.after(at),
                Kind::Sign('{' | '(' | '[') => at = self.after(at),
                _ => at += 1,
            }
        }
        at
    }

    fn module(&mut self) {
        let name = self.word(self.at + 1).unwrap_or_default().to_owned();
        if self.is(self.at + 2, '{') {
            let end = self.after(self.at + 2);
            self.at += 3;
            self.within.push(name);
            self.walk(end);
            self.within.pop();
            return;
        }
        if self.is(self.at + 2, ';') {
            self.found.modules.insert(name);
        }
        self.at += 2;
    }

    fn import(&mut self) {
        let before = self.at.checked_sub(1);
        let public = before.is_some_and(|at| self.word(at) == Some("pub") || self.is(at, ')'));
        self.at += 1;
        self.import_tree(&[], public);
    }

    /// One branch of a `use` tree, up to the `,`, `}` or `;` after it.
    fn import_tree(&mut self, prefix: &[String], public: bool) {
        let mut path = prefix.to_vec();
        if path.is_empty() && self.token(self.at).is_some_and(|token| token.kind == Kind::PathSeparator) {
            path.push(String::new());
        }
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match &token.kind {
                Kind::PathSeparator => {}
                Kind::Sign('*') => return self.push_import(path, None, public, token.line),
                Kind::Sign('{') => {
                    while self.at < self.tokens.len() && !self.is(self.at, '}') {
                        self.import_tree(&path, public);
                        self.at += usize::from(self.is(self.at, ','));
                    }
                    self.at += 1;
                    return;
                }
                Kind::Word(word) => {
                    if word != "self" || path.is_empty() {
                        path.push(word.clone());
                    }
                    if self.word(self.at) == Some("as") {
                        let name = self.word(self.at + 1).filter(|name| *name != "_").map(ToOwned::to_owned);
                        self.at += 2;
                        return self.push_import(path, name, public, token.line);
                    }
                    if self.token(self.at).is_none_or(|next| next.kind != Kind::PathSeparator) {
                        let name = path.last().cloned();
                        return self.push_import(path, name, public, token.line);
                    }
                }
                _ => return,
            }
        }
    }

    fn push_import(&mut self, path: Vec<String>, name: Option<String>, public: bool, line: usize) {
        self.found.imports.push(Import { path, name, public, within: self.within.clone(), line });
    }

    fn mention(&mut self) {
        let line = self.tokens[self.at].line;
        let mut path = Vec::new();
        if self.tokens[self.at].kind == Kind::PathSeparator {
            // `<T as Trait>::item` has no crate before it.
            let global = !self.at.checked_sub(1).is_some_and(|before| self.is(before, '>'));
            path.extend(global.then(String::new));
            self.at += 1;
        }
        while let Some(word) = self.word(self.at) {
            path.push(word.to_owned());
            self.at += 1;
            if self.token(self.at).is_none_or(|next| next.kind != Kind::PathSeparator) {
                break;
            }
            self.at += 1;
        }
        if path.len() > 1 {
            self.found.mentions.push(Mention { path, within: self.within.clone(), line });
        }
    }
}
