//! Rust source as tokens. In: text. Out: identifiers, punctuation, strings, each with its line. Comments, numbers and
//! character literals are left out. Knows no grammar.

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// `::`.
    PathSeparator,
    /// A character of punctuation.
    Sign(char),
    /// A string literal without its quotes; escapes are not resolved.
    Text(String),
    /// A number, a character, a lifetime.
    Other,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// The line that it begins on, from 1.
    pub line: usize,
}

impl Token {
    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this character of punctuation.
    pub fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// The tokens of `source`.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while lexer.at < lexer.rest.len() {
        lexer.token();
    }
    lexer.tokens
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

fn begins_word(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn continues_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn advance(&mut self) -> char {
        let character = self.peek(0);
        self.at += 1;
        self.line += usize::from(character == '\n');
        character
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.tokens.push(Token { kind, line });
    }

    fn token(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => while self.at < self.rest.len() && self.advance() != '\n' {},
            ('/', '*') => self.block_comment(),
            (':', ':') => {
                self.at += 2;
                self.push(Kind::PathSeparator, line);
            }
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (digit, _) if digit.is_ascii_digit() => {
                while continues_word(self.peek(0)) {
                    self.at += 1;
                }
                self.push(Kind::Other, line);
            }
            (begin, _) if begins_word(begin) => self.word(),
            (space, _) if space.is_whitespace() => {
                self.advance();
            }
            (sign, _) => {
                self.at += 1;
                self.push(Kind::Sign(sign), line);
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => (depth, self.at) = (depth + 1, self.at + 2),
                ('*', '/') => (depth, self.at) = (depth - 1, self.at + 2),
                _ => {
                    self.advance();
                }
            }
            if depth == 0 || self.at >= self.rest.len() {
                return;
            }
        }
    }

    /// A word, or the string that follows a prefix like `r#`, `b` or `c`, or a raw identifier.
    fn word(&mut self) {
        let line = self.line;
        let mut word = String::new();
        while continues_word(self.peek(0)) {
            word.push(self.advance());
        }
        let prefix = matches!(word.as_str(), "r" | "b" | "c" | "br" | "cr");
        let hashes = self.rest[self.at..].iter().take_while(|character| **character == '#').count();
        match self.peek(hashes) {
            '"' if prefix && word.ends_with('r') => {
                self.at += hashes;
                self.raw_string(hashes);
            }
            '"' if prefix && hashes == 0 => self.string(),
            '\'' if word == "b" && hashes == 0 => self.quote(),
            begin if word == "r" && hashes == 1 && begins_word(begin) => {
                self.at += 1;
                self.word();
            }
            _ => self.push(Kind::Word(word), line),
        }
    }

    fn string(&mut self) {
        let line = self.line;
        let mut text = String::new();
        self.at += 1;
        while self.at < self.rest.len() {
            match self.advance() {
                '"' => break,
                '\\' => {
                    self.advance();
                }
                character => text.push(character),
            }
        }
        self.push(Kind::Text(text), line);
    }

    fn raw_string(&mut self, hashes: usize) {
        let line = self.line;
        let mut text = String::new();
        self.at += 1;
        while self.at < self.rest.len() {
            match self.advance() {
                '"' if (0..hashes).all(|ahead| self.peek(ahead) == '#') => break,
                character => text.push(character),
            }
        }
        self.at += hashes;
        self.push(Kind::Text(text), line);
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let line = self.line;
        self.at += 1;
        if self.peek(0) == '\\' {
            self.at += 2;
            while self.at < self.rest.len() && self.advance() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.advance();
            self.at += 1;
        } else {
            while continues_word(self.peek(0)) {
                self.at += 1;
            }
        }
        self.push(Kind::Other, line);
    }
}
