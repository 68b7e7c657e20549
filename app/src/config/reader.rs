//! Reads variables one by one and gathers what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::Lookup;
use super::variables::{VARIABLES, Variable};

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration cannot be used:")?;
        for problem in &self.0 {
            writeln!(f, "  {problem}")?;
        }
        write!(f, "`triptych help COMMAND` lists the variables of each command.")
    }
}

impl std::error::Error for Problems {}

pub(super) struct VariableReader<'a> {
    lookup: Lookup<'a>,
    problems: Vec<String>,
}

impl<'a> VariableReader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The configuration, or every problem that was met while it was put together.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, Problems> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(Problems(self.problems)),
        }
    }

    pub(super) fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name} {what}"));
    }

    /// The value of a variable, or its default. An empty value counts as none: that is how charts write "not set".
    fn value(&mut self, name: &str) -> Option<String> {
        let variable: &Variable = VARIABLES.iter().find(|variable| variable.name == name)?;
        let set = |name: &str| (self.lookup)(name).filter(|value| !value.is_empty());
        let mut value = set(name);
        if variable.secret
            && value.is_none()
            && let Some(path) = set(&format!("{name}_FILE"))
        {
            match std::fs::read_to_string(&path) {
                Ok(text) => value = Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problem(&format!("{name}_FILE"), &format!("names {path}, which cannot be read: {error}"));
                    return None;
                }
            }
        }
        value.or_else(|| variable.default.map(str::to_owned))
    }

    fn required(&mut self, name: &str) -> Option<String> {
        let problems = self.problems.len();
        let value = self.value(name);
        if value.is_none() && self.problems.len() == problems {
            self.problem(name, "is not set");
        }
        value
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.required(name)
    }

    /// A value that `check` accepts. What it says completes a sentence that begins with the variable's name.
    pub(super) fn checked<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.required(name)?;
        check(value.trim()).map_err(|problem| self.problem(name, &problem)).ok()
    }

    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        self.checked(name, |text| text.parse().map_err(|error| format!("is {text:?}: {error}")))
    }

    /// `None` when the variable is not set, and when it is wrong, which is then a problem.
    pub(super) fn optional<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.value(name).and_then(|_| self.checked(name, check))
    }

    /// A secret that `check` accepts. What `check` says must not repeat the secret.
    pub(super) fn checked_secret(
        &mut self,
        name: &str,
        check: impl Fn(&SecretString) -> Result<(), String>,
    ) -> Option<SecretString> {
        let secret = SecretString::from(self.required(name)?);
        match check(&secret) {
            Ok(()) => Some(secret),
            Err(problem) => {
                self.problem(name, &problem);
                None
            }
        }
    }

    /// A comma-separated list, possibly empty.
    pub(super) fn list<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<Vec<T>> {
        let value = self.value(name).unwrap_or_default();
        let mut list = Vec::new();
        let before = self.problems.len();
        for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.parse() {
                Ok(item) => list.push(item),
                Err(error) => self.problem(name, &format!("holds {item:?}: {error}")),
            }
        }
        (self.problems.len() == before).then_some(list)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<T> {
        self.checked(name, |text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
                format!("is {text:?}; a whole number from {} to {} is needed", range.start(), range.end())
            })
        })
    }

    /// A number of bytes: `8MiB`, `500KiB`, `1GiB`, or a plain number.
    pub(super) fn bytes(&mut self, name: &str) -> Option<u64> {
        self.checked(name, |text| {
            let (number, factor) = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
                .into_iter()
                .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
                .unwrap_or((text, 1));
            number
                .trim()
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(factor))
                .filter(|&bytes| bytes > 0 && bytes <= 1 << 40)
                .ok_or_else(|| format!("is {text:?}; a size such as 8MiB is needed"))
        })
    }

    /// A duration: `5`, `20ms`, `5s`, `10m`, `24h`.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.checked(name, |text| {
            let (number, milliseconds) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
                .unwrap_or((text, 1000));
            number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(milliseconds))
                .map(Duration::from_millis)
                .filter(|duration| *duration <= Duration::from_hours(366 * 24))
                .ok_or_else(|| format!("is {text:?}; a time such as 20ms, 5s, 10m or 24h is needed"))
        })
    }
}
