using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace SafePool.Tests;

/// <summary>Keeps docs/conformance.md and the tests' marks from drifting apart.</summary>
public sealed partial class ConformanceTests
{
    private const int Cases = 106;

    [Fact]
    public void Table_ComparedWithTheTestsMarks_NamesExactlyThem()
    {
        var path = TablePath();
        var table = File.ReadAllText(path);
        var marks = Marks();

        var expected = Row().Replace(table, row => Rewrite(row, marks));

        if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
        {
            File.WriteAllText(path, expected);
            table = expected;
        }

        Assert.True(expected == table, "docs/conformance.md does not name the tests that are marked. Run with SAFEPOOL_ACCEPT=1 to rewrite it.");
    }

    [Fact]
    public void Table_HasEveryCaseOnce()
    {
        var numbers = Row().Matches(File.ReadAllText(TablePath())).Select(row => Number(row));

        Assert.Equal(Enumerable.Range(1, Cases), numbers.Order());
    }

    [Fact]
    public void Marks_NameExistingCases()
        => Assert.All(Marks().Keys, number => Assert.InRange(number, 1, Cases));

    private static string Rewrite(Match row, SortedDictionary<int, SortedSet<string>> marks)
    {
        var remark = row.Groups["remark"].Value;
        if (marks.TryGetValue(Number(row), out var tests))
        {
            remark = "held: " + string.Join(", ", tests.Select(test => $"`{test}`"));
        }
        else if (remark.StartsWith("held", StringComparison.Ordinal))
        {
            remark = "open";
        }

        return $"| {row.Groups["number"].Value} | {row.Groups["text"].Value} | {remark} |";
    }

    private static SortedDictionary<int, SortedSet<string>> Marks()
    {
        var marks = new SortedDictionary<int, SortedSet<string>>();
        foreach (var method in typeof(ConformanceTests).Assembly.GetTypes().SelectMany(type => type.GetMethods()))
        {
            foreach (var trait in method.GetCustomAttributes<TraitAttribute>().Where(trait => trait.Name == "Conformance"))
            {
                var number = int.Parse(trait.Value, CultureInfo.InvariantCulture);
                if (!marks.TryGetValue(number, out var tests))
                {
                    marks.Add(number, tests = new SortedSet<string>(StringComparer.Ordinal));
                }

                tests.Add($"{method.DeclaringType!.Name}.{method.Name}");
            }
        }

        return marks;
    }

    private static int Number(Match row) => int.Parse(row.Groups["number"].Value, CultureInfo.InvariantCulture);

    private static string TablePath([CallerFilePath] string thisFile = "")
        => Path.Combine(Path.GetDirectoryName(thisFile)!, "..", "..", "docs", "conformance.md");

    [GeneratedRegex(@"^\| (?<number>\d+) \| (?<text>.*?) \| (?<remark>[^|]*) \|$", RegexOptions.Multiline)]
    private static partial Regex Row();
}
