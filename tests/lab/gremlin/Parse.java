import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.tinkerpop.gremlin.language.grammar.GremlinQueryParser;
import org.apache.tinkerpop.gremlin.process.traversal.Traversal;
import org.apache.tinkerpop.gremlin.process.traversal.TraversalSource;

/** Reads queries with TinkerPop's own parser, each on a line in base64; says of each on a line "+" and its bytecode, or "-" and why not. */
public class Parse {
    static String meaning(final Object found) {
        if (found instanceof Traversal) return ((Traversal<?, ?>) found).asAdmin().getBytecode().toString();
        if (found instanceof TraversalSource) return ((TraversalSource) found).getBytecode().toString();
        return String.valueOf(found);
    }

    public static void main(final String[] arguments) throws IOException {
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null; ) {
            final String query = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
            String answer;
            try {
                answer = "+" + meaning(GremlinQueryParser.parse(query));
            } catch (final Throwable error) {
                answer = "-" + error;
            }
            out.println(answer.charAt(0) + Base64.getEncoder().encodeToString(answer.substring(1).getBytes(StandardCharsets.UTF_8)));
        }
    }
}
