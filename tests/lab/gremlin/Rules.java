import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.antlr.v4.runtime.*;
import org.antlr.v4.runtime.tree.*;
import org.apache.tinkerpop.gremlin.language.grammar.*;

/** Reads queries by TinkerPop's own grammar, without making traversals of them, each on a line in base64; says of each on a line "+" and the grammar's rules that were met, each as often, or "-" and why it is none. An empty line: all of the grammar's rules. */
public class Rules {
    static void walk(final ParseTree tree, final List<String> met) {
        if (tree instanceof ParserRuleContext) met.add(GremlinParser.ruleNames[((ParserRuleContext) tree).getRuleIndex()]);
        for (int at = 0; at < tree.getChildCount(); at++) walk(tree.getChild(at), met);
    }

    static String met(final String query) {
        final BaseErrorListener refusing = new BaseErrorListener() {
            @Override
            public void syntaxError(final Recognizer<?, ?> in, final Object token, final int line, final int at, final String why, final RecognitionException error) {
                throw new IllegalArgumentException(line + ":" + at + " " + why);
            }
        };
        final GremlinLexer lexer = new GremlinLexer(CharStreams.fromString(query));
        lexer.removeErrorListeners();
        lexer.addErrorListener(refusing);
        final GremlinParser parser = new GremlinParser(new CommonTokenStream(lexer));
        parser.removeErrorListeners();
        parser.addErrorListener(refusing);
        final List<String> met = new ArrayList<>();
        final ParseTree tree = parser.queryList();
        for (int at = 0; at < tree.getChildCount(); at++) walk(tree.getChild(at), met);
        return String.join(" ", met);
    }

    public static void main(final String[] arguments) throws IOException {
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null; ) {
            final String query = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
            String answer;
            try {
                answer = "+" + (query.isEmpty() ? String.join(" ", GremlinParser.ruleNames) : met(query));
            } catch (final Throwable error) {
                answer = "-" + error;
            }
            out.println(answer.charAt(0) + Base64.getEncoder().encodeToString(answer.substring(1).getBytes(StandardCharsets.UTF_8)));
        }
    }
}
