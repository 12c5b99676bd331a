// A producer that knows nothing of commute: Kafka's own Java client, with its defaults.
//
//     java -cp 'JARS/*' Producer.java SERVERS TOPIC
//
// Each line of the input is a key, a tab and a value; for each, in the same sequence, it prints the partition that the
// client chose for it.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Producer {
    public static void main(String[] arguments) throws Exception {
        Properties configuration = new Properties();
        configuration.put("bootstrap.servers", arguments[0]);
        configuration.put("key.serializer", StringSerializer.class.getName());
        configuration.put("value.serializer", StringSerializer.class.getName());
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
                var producer = new KafkaProducer<String, String>(configuration)) {
            for (String line; (line = input.readLine()) != null; ) {
                String[] parts = line.split("\t", 2);
                sent.add(producer.send(new ProducerRecord<>(arguments[1], parts[0], parts[1])));
            }
        }
        for (Future<RecordMetadata> one : sent) {
            System.out.println("partition " + one.get().partition());
        }
    }
}
