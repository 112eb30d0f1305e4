import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.BaseTable;
import org.apache.iceberg.Files;
import org.apache.iceberg.StaticTableOperations;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.types.Types;

/**
 * Reads tables with Apache Iceberg's own Java library, whose code Spark, Flink, Trino and Hive read them with. In and out are
 * those of read.py; values are written as plain.py has them.
 */
public final class ReadTables {
  private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss.SSSSSS");
  private static final DateTimeFormatter MOMENT = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS");

  public static void main(String[] args) throws Exception {
    JsonNode tables = new ObjectMapper().readTree(System.in);
    FileIO io = new LocalFiles();
    try (JsonGenerator out = new JsonFactory().createGenerator(System.out)) {
      out.writeStartObject();
      for (Map.Entry<String, JsonNode> entry : tables.properties()) {
        out.writeFieldName(entry.getKey());
        StringWriter read = new StringWriter();
        try (JsonGenerator answer = new JsonFactory().createGenerator(read)) {
          rows(answer, entry.getValue(), io);
        } catch (Exception error) {
          read = new StringWriter();
          try (JsonGenerator answer = new JsonFactory().createGenerator(read)) {
            answer.writeStartObject();
            answer.writeStringField("error", error.toString());
            answer.writeEndObject();
          }
        }
        out.writeRawValue(read.toString());
      }
      out.writeEndObject();
    }
  }

  private static void rows(JsonGenerator out, JsonNode asked, FileIO io) throws Exception {
    Table table = new BaseTable(new StaticTableOperations(asked.get("metadata").asText(), io), "table");
    Set<String> without = new HashSet<>();
    asked.get("without").forEach(name -> without.add(name.asText()));
    IcebergGenerics.ScanBuilder scan = IcebergGenerics.read(table);
    for (Map.Entry<String, JsonNode> equal : asked.get("equal").properties()) {
      scan = scan.where(Expressions.equal(equal.getKey(), equal.getValue().asText()));
    }
    out.writeStartObject();
    out.writeArrayFieldStart("rows");
    try (CloseableIterable<Record> rows = scan.build()) {
      for (Record row : rows) {
        write(out, row, without);
      }
    }
    out.writeEndArray();
    out.writeEndObject();
  }

  private static void write(JsonGenerator out, Object value, Set<String> without) throws Exception {
    if (value == null) {
      out.writeNull();
    } else if (value instanceof Record record) {
      out.writeStartObject();
      for (Types.NestedField field : record.struct().fields()) {
        if (!without.contains(field.name())) {
          out.writeFieldName(field.name());
          write(out, record.getField(field.name()), Set.of());
        }
      }
      out.writeEndObject();
    } else if (value instanceof List<?> list) {
      out.writeStartArray();
      for (Object one : list) {
        write(out, one, Set.of());
      }
      out.writeEndArray();
    } else if (value instanceof Map<?, ?> map) {
      out.writeStartArray();
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        out.writeStartObject();
        out.writeFieldName("key");
        write(out, entry.getKey(), Set.of());
        out.writeFieldName("value");
        write(out, entry.getValue(), Set.of());
        out.writeEndObject();
      }
      out.writeEndArray();
    } else {
      single(out, value);
    }
  }

  private static void single(JsonGenerator out, Object value) throws Exception {
    if (value instanceof Boolean one) {
      out.writeBoolean(one);
    } else if (value instanceof Integer || value instanceof Long) {
      out.writeNumber(((Number) value).longValue());
    } else if (value instanceof Float || value instanceof Double) {
      out.writeNumber(((Number) value).doubleValue());
    } else if (value instanceof BigDecimal one) {
      out.writeString(one.toPlainString());
    } else if (value instanceof LocalDate one) {
      out.writeString(one.toString());
    } else if (value instanceof LocalTime one) {
      out.writeString(TIME.format(one));
    } else if (value instanceof LocalDateTime one) {
      out.writeString(MOMENT.format(one));
    } else if (value instanceof OffsetDateTime one) {
      out.writeString(MOMENT.format(one.atZoneSameInstant(ZoneOffset.UTC)) + "Z");
    } else if (value instanceof ByteBuffer one) {
      byte[] bytes = new byte[one.remaining()];
      one.duplicate().get(bytes);
      out.writeString(HexFormat.of().formatHex(bytes));
    } else if (value instanceof byte[] one) {
      out.writeString(HexFormat.of().formatHex(one));
    } else {
      out.writeString(value.toString());
    }
  }

  /** Files of this machine; Hadoop's own way to them asks the network for the machine's name. */
  private static final class LocalFiles implements FileIO {
    @Override
    public InputFile newInputFile(String location) {
      return Files.localInput(location.replaceFirst("^file:/*", "/"));
    }

    @Override
    public OutputFile newOutputFile(String location) {
      throw new UnsupportedOperationException("read only");
    }

    @Override
    public void deleteFile(String location) {
      throw new UnsupportedOperationException("read only");
    }
  }
}
