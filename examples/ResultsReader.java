import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** Acts on each order's outcome once. Arguments: bootstrap servers, topic, consumer group. */
public class ResultsReader {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("group.id", arguments[2]);
        settings.put("isolation.level", "read_committed"); // Java's default shows aborted results too.
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false"); // A position counts once its results have had their effect.
        String text = "org.apache.kafka.common.serialization.StringDeserializer";
        settings.put("key.deserializer", text);
        settings.put("value.deserializer", text);
        Set<String> seen = new HashSet<>(); // In earnest: a unique column, written with the effect.
        ObjectMapper json = new ObjectMapper();
        try (KafkaConsumer<String, String> reader = new KafkaConsumer<>(settings)) {
            reader.subscribe(List.of(arguments[1]));
            while (true) {
                for (ConsumerRecord<String, String> record : reader.poll(Duration.ofSeconds(1))) {
                    JsonNode result = json.readTree(record.value());
                    // "exhausted" is not final: a human looks, and the order may still settle.
                    if (result.get("outcome").asText().equals("settled") && seen.add(result.get("id").asText())) {
                        System.out.println(record.key() + " ended with status " + result.get("status").asText());
                    }
                }
                reader.commitSync();
            }
        }
    }
}
