package resp

import "bufio"

// WriteCommand writes a command as an array of bulk strings. An error of w is what its Flush returns.
func WriteCommand(w *bufio.Writer, args [][]byte) {
	_, _ = w.Write(AppendArray(w.AvailableBuffer(), len(args)))
	for _, a := range args {
		_, _ = w.Write(AppendBulkHeader(w.AvailableBuffer(), len(a)))
		_, _ = w.Write(a)
		_, _ = w.WriteString(crlf)
	}
}
