using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;
using SafePool.Logging;
using SafePool.Telemetry;
using Xunit;

namespace SafePool.Tests.Telemetry;

/// <summary>docs/telemetry.md, the dashboard and the alert rules, compared with what there is.</summary>
public sealed partial class TelemetryPageTests
{
    private static readonly string _docs = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(Here())!, "../../../docs"));

    [Fact]
    public void Page_ComparedWithTheInstruments_NamesEachWithItsUnit()
        => Assert.Equal(
            MetricsTests.Instruments.Select(instrument => (instrument.Name, instrument.Unit)).Order(),
            InstrumentRow().Matches(Page()).Select(row => (row.Groups["name"].Value, row.Groups["unit"].Value)).Order());

    [Fact]
    public void Page_ComparedWithTheLogMessages_HasEachIdOnceWithItsLevelAndWords()
    {
        var messages = typeof(Log).GetMethods(BindingFlags.Public | BindingFlags.Static)
            .Select(method => method.GetCustomAttribute<LoggerMessageAttribute>()).OfType<LoggerMessageAttribute>()
            .OrderBy(message => message.EventId)
            .Select(message => $"| {message.EventId} | {message.Level} | {message.Message} |")
            .ToArray();

        Assert.Equal(messages.Length, messages.Select(message => message.Split('|')[1]).Distinct().Count());
        if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
        {
            var page = Page();
            const string Head = "| id | level | words |\n|---|---|---|\n";
            var end = page.IndexOf(Head, StringComparison.Ordinal);
            File.WriteAllText(PagePath, (end < 0 ? page : page[..end]) + Head + string.Join('\n', messages) + "\n");
        }

        Assert.Equal(messages, Page().Split('\n').Where(line => EventRow().IsMatch(line)));
    }

    [Theory]
    [InlineData("prometheus-alerts.yml")]
    [InlineData("grafana-dashboard.json")]
    public void Queries_OfTheDocs_AskForMetricsThatExist(string file)
    {
        var text = File.ReadAllText(Path.Combine(_docs, file));
        var expressions = file.EndsWith(".json", StringComparison.Ordinal)
            ? JsonDocument.Parse(text).RootElement.GetProperty("panels").EnumerateArray()
                .SelectMany(panel => panel.GetProperty("targets").EnumerateArray()).Select(target => target.GetProperty("expr").GetString()!).ToArray()
            : AlertExpression().Matches(text).Select(match => match.Groups["text"].Value).ToArray();
        var exposed = MetricsTests.Instruments.SelectMany(instrument => Exposed(instrument.Name, instrument.Type)).ToHashSet(StringComparer.Ordinal);
        string[] labels = ["db_client_connection_pool_name", "db_client_connection_state", "safepool_circuit_state"];

        Assert.NotEmpty(expressions);
        Assert.All(expressions, expression =>
        {
            var names = Metric().Matches(expression).Select(match => match.Value).Except(labels.Except(exposed)).ToArray();
            Assert.NotEmpty(names);
            Assert.Subset(exposed, names.ToHashSet(StringComparer.Ordinal));
        });
    }

    /// <summary>What OpenTelemetry's exporters for Prometheus make of a name.</summary>
    private static IEnumerable<string> Exposed(string name, MetricType type)
    {
        var plain = name.Replace('.', '_');
        return type switch
        {
            MetricType.Histogram => [$"{plain}_seconds_bucket", $"{plain}_seconds_sum", $"{plain}_seconds_count"],
            MetricType.LongSum => [$"{plain}_total"],
            _ => [plain],
        };
    }

    private static string PagePath => Path.Combine(_docs, "telemetry.md");

    private static string Page() => File.ReadAllText(PagePath);

    private static string Here([CallerFilePath] string path = "") => path;

    [GeneratedRegex(@"^\| `(?<name>[a-z_.]+)` \| `(?<unit>[^`]+)` \|", RegexOptions.Multiline)]
    private static partial Regex InstrumentRow();

    [GeneratedRegex(@"^\| \d+ \| ")]
    private static partial Regex EventRow();

    [GeneratedRegex(@"expr: (?:>-\n)?(?<text>(?:.*\n)(?:          .*\n)*)")]
    private static partial Regex AlertExpression();

    [GeneratedRegex(@"\b(?:db_client|safepool)_[a-z_]+")]
    private static partial Regex Metric();
}
