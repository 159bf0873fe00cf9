import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.script.Bindings;
import javax.script.SimpleBindings;
import org.apache.commons.configuration2.BaseConfiguration;
import org.apache.commons.configuration2.Configuration;
import org.apache.tinkerpop.gremlin.jsr223.GremlinLangScriptEngine;
import org.apache.tinkerpop.gremlin.process.traversal.Traversal;
import org.apache.tinkerpop.gremlin.structure.io.graphml.*;
import org.apache.tinkerpop.gremlin.structure.io.graphson.*;
import org.apache.tinkerpop.gremlin.tinkergraph.structure.*;
import org.apache.tinkerpop.shaded.jackson.databind.ObjectMapper;

/** Writes TinkerPop's toy graphs as files, and answers queries on files of GraphML: a line "write form graph file" or "ask file query" in base64 each; "+" and the answers in typed GraphSON 3, or "-" and the error. */
public class Files {
    private static final Map<String, TinkerGraph> GRAPHS = Map.of("modern", TinkerFactory.createModern(), "crew", TinkerFactory.createTheCrew(),
            "sink", TinkerFactory.createKitchenSink(), "grateful", TinkerFactory.createGratefulDead());

    private static GraphSONMapper.Builder mapper(final TypeInfo types) {
        return GraphSONMapper.build().version(GraphSONVersion.V3_0).typeInfo(types)
                .addCustomModule(GraphSONXModuleV3.build()).addRegistry(TinkerIoRegistryV3.instance());
    }

    private static void write(final String form, final TinkerGraph graph, final OutputStream file) throws IOException {
        final GraphSONWriter.Builder typed = GraphSONWriter.build().mapper(mapper(TypeInfo.PARTIAL_TYPES).create());
        switch (form) {
            case "lines": typed.create().writeGraph(file, graph); break;
            case "wrapped": typed.wrapAdjacencyList(true).create().writeGraph(file, graph); break;
            case "untyped": GraphSONWriter.build().mapper(mapper(TypeInfo.NO_TYPES).create()).create().writeGraph(file, graph); break;
            case "document": mapper(TypeInfo.PARTIAL_TYPES).create().createMapper().writeValue(file, graph); break;
            case "graphml": GraphMLWriter.build().create().writeGraph(file, graph); break;
            default: throw new IllegalArgumentException(form);
        }
    }

    private static TinkerGraph read(final String file) throws IOException {
        final Configuration settings = new BaseConfiguration();
        settings.setProperty("gremlin.tinkergraph.defaultVertexPropertyCardinality", "list");
        final TinkerGraph graph = TinkerGraph.open(settings);
        try (final InputStream in = new FileInputStream(file)) {
            GraphMLReader.build().create().readGraph(in, graph);
        }
        return graph;
    }

    public static void main(final String[] arguments) throws IOException {
        final Map<String, TinkerGraph> files = new HashMap<>();
        final GremlinLangScriptEngine engine = new GremlinLangScriptEngine();
        final ObjectMapper mapper = mapper(TypeInfo.PARTIAL_TYPES).create().createMapper();
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        final PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null; ) {
            final String[] asked = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8).split(" ", 2);
            String answer = "+";
            try {
                if (asked[0].equals("write")) {
                    final String[] words = asked[1].split(" ", 3);
                    try (final OutputStream file = new FileOutputStream(words[2])) {
                        write(words[0], GRAPHS.get(words[1]), file);
                    }
                } else {
                    final String[] words = asked[1].split(" ", 2);
                    if (!files.containsKey(words[0])) files.put(words[0], read(words[0]));
                    final Bindings bindings = new SimpleBindings();
                    bindings.put("g", files.get(words[0]).traversal());
                    final Object found = engine.eval(words[1], bindings);
                    answer += mapper.writeValueAsString(found instanceof Traversal ? ((Traversal<?, ?>) found).toList() : found);
                }
            } catch (final Throwable error) {
                answer = "-" + error;
            }
            out.println(answer.charAt(0) + Base64.getEncoder().encodeToString(answer.substring(1).getBytes(StandardCharsets.UTF_8)));
        }
    }
}
