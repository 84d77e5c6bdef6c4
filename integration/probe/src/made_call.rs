//! A list of calls, as the suite writes it and `probe calls` reads it.

use std::fmt;

/// By which door a call enters the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The processor's own; x32 by bit 30 of the number.
    Native,
    /// The interrupt of 32-bit programs.
    Interrupt,
}

/// A call by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The door.
    pub table: Table,
    /// The number there.
    pub number: u32,
    /// Through the 32-bit door the lower halves.
    pub arguments: [u64; 6],
}

impl Made {
    /// A list in one word, of which an exec takes 128 KiB: arguments that are all ones at the end are left out.
    #[must_use]
    pub fn list(calls: &[Self]) -> String {
        let words: Vec<String> = calls.iter().map(Self::to_string).collect();
        words.join(";")
    }

    /// The calls of a list; `None` if it is none.
    #[must_use]
    pub fn parse_list(list: &str) -> Option<Vec<Self>> {
        list.split(';').map(Self::parse).collect()
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split(',');
        let table = match parts.next()? {
            "n" => Table::Native,
            "i" => Table::Interrupt,
            _ => return None,
        };
        let number = u32::from_str_radix(parts.next()?, 16).ok()?;
        let mut arguments = [u64::MAX; 6];
        for argument in &mut arguments {
            let Some(word) = parts.next() else { break };
            *argument = u64::from_str_radix(word, 16).ok()?;
        }
        parts.next().is_none().then_some(Self { table, number, arguments })
    }
}

impl fmt::Display for Made {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = if self.table == Table::Native { 'n' } else { 'i' };
        write!(formatter, "{table},{:x}", self.number)?;
        let written = self.arguments.iter().rposition(|argument| *argument != u64::MAX).map_or(0, |last| last + 1);
        self.arguments.iter().take(written).try_for_each(|argument| write!(formatter, ",{argument:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let call = |table, number, arguments| Made { table, number, arguments };
        let calls = [
            call(Table::Native, 39, [u64::MAX; 6]),
            call(Table::Interrupt, 0x16, [0; 6]),
            call(Table::Native, 0x4000_0001, [1, u64::MAX, 3, u64::MAX, u64::MAX, u64::MAX]),
        ];
        let list = Made::list(&calls);
        assert_eq!(list, "n,27;i,16,0,0,0,0,0,0;n,40000001,1,ffffffffffffffff,3");
        assert_eq!(Made::parse_list(&list).unwrap(), calls);
        for wrong in ["", "x,1", "n", "n,g", "n,1,1,1,1,1,1,1,1", "n,1;"] {
            assert_eq!(Made::parse_list(wrong), None, "{wrong:?}");
        }
    }
}
