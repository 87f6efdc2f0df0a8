using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace SafePool.Tests.Telemetry;

/// <summary>What a service that uses the OpenTelemetry SDK would send of the pools.</summary>
internal sealed class MeterReader : IDisposable
{
    private readonly Collector _collector = new();
    private readonly MeterProvider _provider;

    public MeterReader()
        => _provider = Sdk.CreateMeterProviderBuilder()
            .AddMeter(SafePoolTelemetry.MeterName)
            .AddReader(new BaseExportingMetricReader(_collector) { TemporalityPreference = MetricReaderTemporalityPreference.Cumulative })
            .Build();

    public void Dispose() => _provider.Dispose();

    /// <summary>Every point of every metric, as it is now.</summary>
    public IReadOnlyList<MetricPointSeen> Read()
    {
        _collector.Seen.Clear();
        _provider.ForceFlush();
        return [.. _collector.Seen];
    }

    /// <summary>The points of one pool.</summary>
    public IReadOnlyList<MetricPointSeen> Read(string pool) => [.. Read().Where(point => point.Tag("db.client.connection.pool.name") == pool)];

    private sealed class Collector : BaseExporter<Metric>
    {
        public List<MetricPointSeen> Seen { get; } = [];

        public override ExportResult Export(in Batch<Metric> batch)
        {
            foreach (var metric in batch)
            {
                foreach (ref readonly var point in metric.GetMetricPoints())
                {
                    var tags = new SortedDictionary<string, string>(StringComparer.Ordinal);
                    foreach (var (key, value) in point.Tags)
                    {
                        tags.Add(key, value?.ToString() ?? "");
                    }

                    var (number, count) = metric.MetricType switch
                    {
                        MetricType.Histogram => (point.GetHistogramSum(), point.GetHistogramCount()),
                        _ => (point.GetSumLong(), 0),
                    };
                    Seen.Add(new MetricPointSeen(metric.Name, metric.Unit, metric.MetricType, tags, number, count));
                }
            }

            return ExportResult.Success;
        }
    }
}

/// <param name="Name">Of the instrument.</param>
/// <param name="Unit">Of the instrument.</param>
/// <param name="Type">What the SDK takes the instrument for.</param>
/// <param name="Tags">The attributes.</param>
/// <param name="Value">The number; of a histogram the sum.</param>
/// <param name="Count">Of a histogram how many were recorded.</param>
internal sealed record MetricPointSeen(string Name, string Unit, MetricType Type, IReadOnlyDictionary<string, string> Tags, double Value, long Count)
{
    public string? Tag(string key) => Tags.GetValueOrDefault(key);
}
