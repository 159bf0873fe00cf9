import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.script.Bindings;
import javax.script.SimpleBindings;
import org.apache.tinkerpop.gremlin.jsr223.GremlinLangScriptEngine;
import org.apache.tinkerpop.gremlin.process.traversal.Traversal;
import org.apache.tinkerpop.gremlin.structure.io.graphson.*;
import org.apache.tinkerpop.gremlin.tinkergraph.structure.*;
import org.apache.tinkerpop.shaded.jackson.databind.ObjectMapper;

/** Answers queries on TinkerPop's toy graphs as Gremlin Server's engine does: a line "graph query" in base64 each; "+" and the answers in typed GraphSON 3, or "-" and the error. */
public class Answer {
    public static void main(final String[] arguments) throws IOException {
        final Map<String, TinkerGraph> graphs = Map.of("modern", TinkerFactory.createModern(), "crew", TinkerFactory.createTheCrew(),
                "sink", TinkerFactory.createKitchenSink(), "grateful", TinkerFactory.createGratefulDead());
        final GremlinLangScriptEngine engine = new GremlinLangScriptEngine();
        final ObjectMapper mapper = GraphSONMapper.build().version(GraphSONVersion.V3_0).typeInfo(TypeInfo.PARTIAL_TYPES)
                .addCustomModule(GraphSONXModuleV3.build()).addRegistry(TinkerIoRegistryV3.instance()).create().createMapper();
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null; ) {
            final String[] asked = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8).split(" ", 2);
            String answer;
            try {
                final Bindings bindings = new SimpleBindings();
                bindings.put("g", graphs.get(asked[0]).traversal());
                final Object found = engine.eval(asked[1], bindings);
                answer = "+" + mapper.writeValueAsString(found instanceof Traversal ? ((Traversal<?, ?>) found).toList() : found);
            } catch (final Throwable error) {
                answer = "-" + error;
            }
            out.println(answer.charAt(0) + Base64.getEncoder().encodeToString(answer.substring(1).getBytes(StandardCharsets.UTF_8)));
        }
    }
}
