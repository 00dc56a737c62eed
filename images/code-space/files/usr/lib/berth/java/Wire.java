package berth;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The two pipes to the guest: frames of JSON, each behind its length in bytes (32 bits, little endian).
 *
 * <p>The guest sends objects of numbers, strings and objects; that much of JSON is read here, so that no library has to
 * be in the image.
 */
final class Wire {
    private final DataInputStream requests;
    private final OutputStream replies;

    Wire() throws IOException {
        requests = new DataInputStream(new FileInputStream(descriptor("BERTH_REQUESTS")));
        replies = new FileOutputStream(descriptor("BERTH_REPLIES"));
    }

    private static String descriptor(String variable) {
        return "/proc/self/fd/" + System.getenv(variable);
    }

    /** The next frame; {@code null} when the guest is gone. */
    Map<String, Object> receive() throws IOException {
        try {
            byte[] body = new byte[Integer.reverseBytes(requests.readInt())];
            requests.readFully(body);
            return new Reader(new String(body, StandardCharsets.UTF_8)).object();
        } catch (EOFException end) {
            return null;
        }
    }

    void send(Map<String, ?> message) throws IOException {
        StringBuilder text = new StringBuilder();
        write(message, text);
        byte[] body = text.toString().getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream frame = new ByteArrayOutputStream(4 + body.length);
        frame.write(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(body.length).array());
        frame.write(body);
        frame.writeTo(replies);
    }

    private static void write(Object value, StringBuilder text) {
        switch (value) {
            case null -> text.append("null");
            case String string -> writeString(string, text);
            case Map<?, ?> map -> {
                String separator = "{";
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    text.append(separator);
                    writeString((String) entry.getKey(), text);
                    text.append(':');
                    write(entry.getValue(), text);
                    separator = ",";
                }
                text.append(map.isEmpty() ? "{}" : "}");
            }
            default -> text.append(value);
        }
    }

    private static void writeString(String string, StringBuilder text) {
        text.append('"');
        for (int index = 0; index < string.length(); index++) {
            char unit = string.charAt(index);
            boolean half = Character.isSurrogate(unit) && !isWhole(string, index);
            if (unit == '"' || unit == '\\') {
                text.append('\\').append(unit);
            } else if (unit < ' ' || half) {
                text.append(half ? "\\ufffd" : String.format("\\u%04x", (int) unit));
            } else {
                text.append(unit);
            }
        }
        text.append('"');
    }

    /** Whether the surrogate at {@code index} has its other half. */
    private static boolean isWhole(String string, int index) {
        return Character.isHighSurrogate(string.charAt(index))
                ? index + 1 < string.length() && Character.isLowSurrogate(string.charAt(index + 1))
                : index > 0 && Character.isHighSurrogate(string.charAt(index - 1));
    }

    private static final class Reader {
        private final String text;
        private int next;

        Reader(String text) {
            this.text = text;
        }

        Map<String, Object> object() throws IOException {
            Map<String, Object> members = new LinkedHashMap<>();
            expect('{');
            while (peek() != '}') {
                String name = string();
                expect(':');
                members.put(name, value());
                if (peek() == ',') {
                    next++;
                }
            }
            next++;
            return members;
        }

        private Object value() throws IOException {
            return switch (peek()) {
                case '{' -> object();
                case '"' -> string();
                default -> number();
            };
        }

        private Long number() throws IOException {
            int start = next;
            while (next < text.length() && (text.charAt(next) == '-' || Character.isDigit(text.charAt(next)))) {
                next++;
            }
            if (start == next) {
                throw new IOException("a frame that has no meaning here");
            }
            return Long.valueOf(text.substring(start, next));
        }

        private String string() throws IOException {
            expect('"');
            StringBuilder string = new StringBuilder();
            for (char unit = take(); unit != '"'; unit = take()) {
                string.append(unit == '\\' ? escaped() : unit);
            }
            return string.toString();
        }

        private char escaped() throws IOException {
            char unit = take();
            return switch (unit) {
                case 'b' -> '\b';
                case 'f' -> '\f';
                case 'n' -> '\n';
                case 'r' -> '\r';
                case 't' -> '\t';
                case 'u' -> {
                    next += 4;
                    yield (char) Integer.parseInt(text.substring(next - 4, next), 16);
                }
                default -> unit;
            };
        }

        private char peek() throws IOException {
            while (next < text.length() && text.charAt(next) <= ' ') {
                next++;
            }
            if (next == text.length()) {
                throw new IOException("a frame that ends too soon");
            }
            return text.charAt(next);
        }

        private char take() throws IOException {
            if (next == text.length()) {
                throw new IOException("a frame that ends too soon");
            }
            return text.charAt(next++);
        }

        private void expect(char wanted) throws IOException {
            if (peek() != wanted) {
                throw new IOException("a frame that has no meaning here");
            }
            next++;
        }
    }
}
