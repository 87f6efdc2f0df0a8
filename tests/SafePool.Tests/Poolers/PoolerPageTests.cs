using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Poolers;

/// <summary>Keeps docs/poolers.md true: every cell is measured.</summary>
public sealed partial class PoolerPageTests
{
    private const string Column124 = "PgBouncer 1.24, transaction";

    // In the order of the page's columns.
    private static readonly Func<Task<Gateway>>[] _gateways =
    [
        Gateway.DirectAsync,
        () => Gateway.BouncerAsync(PoolMode.Session),
        () => Gateway.BouncerAsync(PoolMode.Transaction),
        .. PgBouncerOptions.Has124 ? new[] { () => Gateway.BouncerAsync(PoolMode.Transaction, use124: true) } : [],
        Gateway.PgpoolAsync,
    ];

    private static readonly Dictionary<string, IReadOnlyList<MatrixRow>> _tables = new()
    {
        ["basics"] = PoolerMatrix.Basics,
        ["sessions"] = PoolerMatrix.Sessions,
        ["timeouts"] = PoolerMatrix.Timeouts,
        ["trouble"] = PoolerMatrix.Trouble,
    };

    [Fact]
    public async Task Tables_ComparedWithWhatPoolsDoBehindPoolers_SayExactlyThat()
    {
        var measured = await Task.WhenAll(_gateways.Select(MeasureAsync));
        var path = DocumentPath();
        var document = File.ReadAllText(path);

        var expected = Measured().Replace(document, table => Rewrite(table, measured));

        if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
        {
            File.WriteAllText(path, expected);
            document = expected;
        }

        Assert.All(_tables.Keys, name => Assert.Contains($"<!-- measured: {name} -->", document, StringComparison.Ordinal));
        var wrong = expected.Split('\n').Except(document.Split('\n'));
        Assert.True(
            expected == document,
            $"docs/poolers.md is not what was measured. Run with SAFEPOOL_ACCEPT=1 to rewrite it. Measured:\n{string.Join('\n', wrong)}");
    }

    private static async Task<Measurement> MeasureAsync(Func<Task<Gateway>> openAsync)
    {
        await using var gateway = await openAsync();
        var cells = new Dictionary<string, string>();
        foreach (var row in _tables.Values.SelectMany(rows => rows))
        {
            try
            {
                cells[row.Name] = await row.TryAsync(gateway);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"'{row.Name}' could not be measured for {gateway.Name}: {error.Message}", error);
            }
        }

        return new Measurement(gateway.Name, cells);
    }

    private static string Rewrite(Match table, IReadOnlyList<Measurement> measured)
    {
        var rows = _tables[table.Groups["name"].Value];
        var columns = measured.ToList();
        if (!PgBouncerOptions.Has124)
        {
            // As the page has it: this column is measured where PgBouncer 1.24 is.
            columns.Insert(columns.Count - 1, Read(table.Value));
        }

        return string.Join(
            '\n',
            [
                table.Groups["mark"].Value,
                Line("", columns.Select(column => column.Name)),
                Line("---", columns.Select(_ => "---")),
                .. rows.Select(row => Line(row.Name, columns.Select(column => column.Cells.GetValueOrDefault(row.Name, "not measured")))),
                "",
            ]);
    }

    private static string Line(string head, IEnumerable<string> cells) => $"| {head} | {string.Join(" | ", cells)} |";

    private static Measurement Read(string table)
    {
        var lines = table.Split('\n').Where(line => line.StartsWith('|')).Select(line => line.Split('|', StringSplitOptions.TrimEntries)).ToList();
        var at = lines.Count == 0 ? -1 : Array.IndexOf(lines[0], Column124);
        return new Measurement(Column124, at < 0 ? [] : lines.Skip(2).ToDictionary(line => line[1], line => line[at]));
    }

    private static string DocumentPath([CallerFilePath] string thisFile = "")
        => Path.Combine(Path.GetDirectoryName(thisFile)!, "..", "..", "..", "docs", "poolers.md");

    [GeneratedRegex(@"(?<mark><!-- measured: (?<name>\w+) -->)\n(\|.*\|\n)*")]
    private static partial Regex Measured();

    private sealed record Measurement(string Name, Dictionary<string, string> Cells);
}
