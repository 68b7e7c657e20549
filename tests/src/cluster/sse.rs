//! Server-sent events, as they are written: lines, and an empty one after each block. Pure.

/// What stands between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where to continue from.
    pub(crate) id: Option<String>,
    /// What kind of event it is; empty for the usual one.
    pub(crate) event: String,
    /// Without it nothing has happened.
    pub(crate) data: Option<String>,
    /// Milliseconds to wait before coming back.
    pub(crate) retry: Option<u64>,
}

/// Takes bytes as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    block: Block,
}

impl Parser {
    /// The blocks that these bytes complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            match line.strip_suffix('\r').unwrap_or(&line) {
                "" => blocks.push(std::mem::take(&mut self.block)),
                line => self.block.take(line),
            }
        }
        blocks.retain(|block| *block != Block::default());
        blocks
    }
}

impl Block {
    fn take(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "retry" => self.retry = value.parse().ok(),
            // A comment, such as a heartbeat, or what nobody knows.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_wherever_the_bytes_are_cut() {
        let text = "retry: 2500\nid: 1-7\n\n:\n\nid:2\r\ndata: {\"thread\":17,\r\ndata: \"posted\":[18]}\r\n\r\nevent: reload\ndata: {}\n\nid: 3\n";
        let wanted = [
            Block { id: Some("1-7".into()), retry: Some(2500), ..Block::default() },
            Block { id: Some("2".into()), data: Some("{\"thread\":17,\n\"posted\":[18]}".into()), ..Block::default() },
            Block { event: "reload".into(), data: Some("{}".into()), ..Block::default() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let blocks: Vec<Block> = text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes)).collect();
            assert_eq!(blocks, wanted, "in pieces of {size}");
        }
    }
}
