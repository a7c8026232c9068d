//! A reader for pickles of the one form that CIFAR's python batches have: protocol 2, a dictionary of
//! byte strings, lists and one numpy array. It runs no code: the only callables it knows are the
//! ones that numpy arrays are made of, and they are data here.

/// Most values in a pickle; a CIFAR batch has some 20,000.
const VALUES: usize = 1 << 20;

/// A value; containers name their members by number, so that sharing and nesting cost nothing.
enum Value<'a> {
    Nothing,
    Int(i64),
    Text(&'a [u8]),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    /// Keys and values in turn.
    Dict(Vec<usize>),
    Callable(Callable),
    /// A numpy array of bytes and, once known, its sizes and content.
    Array(Option<(Vec<usize>, &'a [u8])>),
    Dtype,
}

#[derive(Clone, Copy)]
enum Callable {
    Reconstruct,
    Ndarray,
    Dtype,
}

/// A pickle that was read.
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The dictionary that is the whole.
    root: usize,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle whose whole is a dictionary.
    pub fn read(file: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: file,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
        };
        let root = machine
            .run()
            .map_err(|what| format!("byte {}: {what}", file.len() - machine.rest.len()))?;
        Ok(Self {
            values: machine.values,
            root,
        })
    }

    fn find(&self, key: &str) -> Result<&Value<'a>, String> {
        let Value::Dict(members) = &self.values[self.root] else {
            return Err("the pickle is no dictionary".into());
        };
        let found = members.chunks_exact(2).find(
            |pair| matches!(self.values[pair[0]], Value::Text(text) if text == key.as_bytes()),
        );
        found
            .map(|pair| &self.values[pair[1]])
            .ok_or_else(|| format!("the dictionary has no `{key}`"))
    }

    /// A two-dimensional array of bytes with that many columns: its rows and its content.
    pub fn array(&self, key: &str, columns: usize) -> Result<(usize, &'a [u8]), String> {
        match self.find(key)? {
            Value::Array(Some((sizes, data))) => match sizes[..] {
                [rows, found]
                    if found == columns && rows.checked_mul(columns) == Some(data.len()) =>
                {
                    Ok((rows, data))
                }
                _ => Err(format!(
                    "`{key}` has sizes {sizes:?} and {} bytes; expected [N, {columns}]",
                    data.len()
                )),
            },
            _ => Err(format!("`{key}` is no numpy array of bytes")),
        }
    }

    /// A list of numbers from 0 to 255.
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>, String> {
        let Value::List(members) = self.find(key)? else {
            return Err(format!("`{key}` is no list"));
        };
        let byte = |member: &usize| match self.values[*member] {
            Value::Int(value) => u8::try_from(value).ok(),
            _ => None,
        };
        members
            .iter()
            .map(byte)
            .collect::<Option<_>>()
            .ok_or_else(|| format!("`{key}` holds other things than small numbers"))
    }
}

/// The stack machine that a pickle is a program for.
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: Vec<Option<usize>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<usize, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                0x80 => {
                    let protocol = self.take(1)?[0];
                    if protocol > 2 {
                        return Err(format!(
                            "pickle protocol {protocol}; the official batches have 2"
                        ));
                    }
                }
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' | 0x89 => self.push(Value::Nothing)?,
                0x88 => self.push(Value::Int(1))?,
                b'K' => {
                    let value = self.take(1)?[0];
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'U' => {
                    let length = self.take(1)?[0];
                    let text = self.take(length.into())?;
                    self.push(Value::Text(text))?;
                }
                b'T' | b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    let text = self.take(length as usize)?;
                    self.push(Value::Text(text))?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b't' => {
                    let members = self.marked()?;
                    self.push(Value::Tuple(members))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let at = self
                        .stack
                        .len()
                        .checked_sub(count)
                        .ok_or("a tuple of nothing")?;
                    let members = self.stack.split_off(at);
                    self.push(Value::Tuple(members))?;
                }
                b'a' => {
                    let member = self.pop()?;
                    self.extend(vec![member], true)?;
                }
                b'e' => {
                    let members = self.marked()?;
                    self.extend(members, true)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend(vec![key, value], false)?;
                }
                b'u' => {
                    let members = self.marked()?;
                    self.extend(members, false)?;
                }
                b'q' => {
                    let slot = self.take(1)?[0];
                    self.remember(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.remember(slot as usize)?;
                }
                b'h' => {
                    let slot = self.take(1)?[0];
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot as usize)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    let callable = match (module, name) {
                        (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                            Callable::Reconstruct
                        }
                        (b"numpy", b"ndarray") => Callable::Ndarray,
                        (b"numpy", b"dtype") => Callable::Dtype,
                        _ => {
                            let text = |bytes| {
                                String::from_utf8_lossy(bytes)
                                    .chars()
                                    .take(80)
                                    .collect::<String>()
                            };
                            return Err(format!(
                                "it asks for `{}.{}`, which no CIFAR batch needs",
                                text(module),
                                text(name)
                            ));
                        }
                    };
                    self.push(Value::Callable(callable))?;
                }
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                other => {
                    return Err(format!(
                        "pickle instruction {other:#04x}, which no CIFAR batch needs"
                    ));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("the pickle is cut off")?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or("the pickle is cut off")?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self
            .rest
            .iter()
            .position(|b| *b == b'\n')
            .ok_or("the pickle is cut off")?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() == VALUES || self.stack.len() == VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, String> {
        self.stack
            .pop()
            .ok_or_else(|| "an instruction without a value".into())
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Vec<usize>, String> {
        let at = self
            .marks
            .pop()
            .filter(|at| *at <= self.stack.len())
            .ok_or("an instruction without a mark")?;
        Ok(self.stack.split_off(at))
    }

    /// Adds members to the list or dictionary on top of the stack.
    fn extend(&mut self, members: Vec<usize>, list: bool) -> Result<(), String> {
        let top = *self.stack.last().ok_or("members without a container")?;
        match &mut self.values[top] {
            Value::List(all) if list => all.extend(members),
            Value::Dict(all) if !list && members.len().is_multiple_of(2) => all.extend(members),
            _ => return Err("members of what is no container".into()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: usize) -> Result<(), String> {
        let top = *self.stack.last().ok_or("nothing to remember")?;
        if slot >= VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        if self.memo.len() <= slot {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(top);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), String> {
        let value = self
            .memo
            .get(slot)
            .copied()
            .flatten()
            .ok_or("it recalls what it never stored")?;
        if self.stack.len() == VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// Calls what makes an empty array, or the type of its values.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return Err("a call without arguments".into());
        };
        let first = arguments.first().map(|n| &self.values[*n]);
        let made = match (&self.values[callable], first) {
            (Value::Callable(Callable::Reconstruct), Some(Value::Callable(Callable::Ndarray))) => {
                Value::Array(None)
            }
            (Value::Callable(Callable::Dtype), Some(Value::Text(b"u1"))) => Value::Dtype,
            (Value::Callable(Callable::Dtype), _) => {
                return Err("an array of other values than bytes".into());
            }
            _ => return Err("a call that no CIFAR batch needs".into()),
        };
        self.push(made)
    }

    /// Fills an array: (version, sizes, type, whether column by column, content).
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let top = *self.stack.last().ok_or("a state without an object")?;
        let content = match (&self.values[top], &self.values[state]) {
            (Value::Dtype, Value::Tuple(_)) => return Ok(()),
            (Value::Array(None), Value::Tuple(state)) => match state[..] {
                [_, sizes, dtype, order, data] => (sizes, dtype, order, data),
                _ => return Err("an array with an unknown state".into()),
            },
            _ => return Err("a state of what has none".into()),
        };
        let (sizes, dtype, order, data) = content;
        let (Value::Tuple(sizes), Value::Dtype, Value::Nothing, Value::Text(data)) = (
            &self.values[sizes],
            &self.values[dtype],
            &self.values[order],
            &self.values[data],
        ) else {
            return Err("an array that is not of bytes row by row".into());
        };
        let data: &'a [u8] = data;
        let size = |n: &usize| match self.values[*n] {
            Value::Int(size) => usize::try_from(size).ok(),
            _ => None,
        };
        let sizes: Vec<usize> = sizes
            .iter()
            .map(size)
            .collect::<Option<_>>()
            .ok_or("sizes that are no numbers")?;
        self.values[top] = Value::Array(Some((sizes, data)));
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A batch as Python 2 pickled the official ones.
    pub fn batch(labels: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out =
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x04testq\x03U\x06labelsq\x04]q\x05(".to_vec();
        for label in labels {
            out.extend([b'K', *label]);
        }
        out.extend(b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87R");
        out.extend(b"(K\x01M");
        out.extend(((data.len() / 3072) as u16).to_le_bytes());
        out.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out.extend(b"tbu.");
        out
    }

    fn error(file: &[u8]) -> String {
        Pickle::read(file).err().unwrap()
    }

    #[test]
    fn code_is_refused_by_name() {
        let message = error(b"\x80\x02cos\nsystem\nU\x02ls\x85R.");
        assert!(
            message.ends_with("it asks for `os.system`, which no CIFAR batch needs"),
            "{message}"
        );
    }

    #[test]
    fn nesting_and_sharing_without_end_cost_nothing() {
        let deep = [b"\x80\x02N".to_vec(), vec![0x85; VALUES + 1]].concat();
        assert!(error(&deep).ends_with("more than 1048576 values"));
        // a list that holds itself
        assert!(
            Pickle::read(b"]q\x00h\x00a.")
                .unwrap()
                .bytes("labels")
                .is_err()
        );
        assert!(error(b"]r\xff\xff\xff\xff.").ends_with("values"));
    }

    #[test]
    fn a_batch_cut_anywhere_is_refused() {
        let file = batch(&[1], &[0; 3072]);
        for length in (0..300).chain(file.len() - 100..file.len()) {
            assert!(Pickle::read(&file[..length]).is_err(), "{length}");
        }
        assert!(Pickle::read(&file).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Pickle::read(&bytes);
        }

        #[test]
        fn a_damaged_batch_is_read_or_refused(place in 0usize..220, byte: u8) {
            let mut file = batch(&[1, 2], &[0; 6144]);
            file[place] = byte;
            if let Ok(pickle) = Pickle::read(&file) {
                let _ = (pickle.array("data", 3072), pickle.bytes("labels"));
            }
        }
    }
}
