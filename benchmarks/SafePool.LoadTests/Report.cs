using System.Globalization;
using Npgsql;
using Spectre.Console;

namespace SafePool.LoadTests;

/// <summary>The table at the end, and a line for each run.</summary>
internal static class Report
{
    private const int MostKindsOfFailures = 4;

    private static readonly string[] _numbers =
        [
            "requests", "failed\nrents", "failed\ncommands", "longest\nwait", "nobody\nserved for", "first success\nafter ready", "last failure\nafter ready",
            "hung rents /\ncommands", "connects/s\ndown / after", "failed late:\nall / < 1 ms,\nmedian / p99", "load's\nlag",
        ];

    /// <summary>Prints the table: on a terminal with frames and colours, else as Markdown.</summary>
    public static void Print(IReadOnlyList<Outcome> outcomes)
    {
        if (Console.IsOutputRedirected)
        {
            PrintMarkdown(outcomes);
        }
        else
        {
            AnsiConsole.Write(Frame(outcomes));
        }
    }

    /// <summary>Prints the verdict.</summary>
    /// <returns>The exit code.</returns>
    public static int Conclude(IReadOnlyList<Outcome> outcomes, TimeSpan elapsed)
    {
        string[] broken = [.. outcomes.Where(outcome => outcome.Entry.KeepsPromises).SelectMany(Broken)];
        foreach (var promise in broken)
        {
            Console.WriteLine($"BROKEN {promise}");
        }

        Console.WriteLine(broken.Length == 0
            ? $"SafePool kept its promises. {elapsed.TotalSeconds:0} s."
            : $"Broken promises: {broken.Length}, see above. {elapsed.TotalSeconds:0} s.");
        return broken.Length == 0 ? 0 : 1;
    }

    /// <summary>Says what the failures of a run were.</summary>
    public static IEnumerable<string> Lines(Outcome outcome)
    {
        yield return $"{outcome.Scenario.Title}, {outcome.Entry.Name}: {Number(outcome.Requests.Count)} requests, down for {Duration(outcome.Fault.Duration)}";
        var kinds = outcome.Requests.Where(request => request.Failure is not null).GroupBy(Kind).OrderByDescending(kind => kind.Count()).ToArray();
        foreach (var kind in kinds.Take(MostKindsOfFailures))
        {
            yield return $"  {Number(kind.Count())} x {kind.Key}";
        }

        if (kinds.Length > MostKindsOfFailures)
        {
            yield return $"  and {kinds.Length - MostKindsOfFailures} more kinds, {Number(kinds.Skip(MostKindsOfFailures).Sum(kind => kind.Count()))} failures";
        }
    }

    public static string Duration(TimeSpan? time) => time switch
    {
        null => "never",
        { TotalMilliseconds: < 1 } some => some.TotalMilliseconds.ToString("0.00 'ms'", CultureInfo.InvariantCulture),
        { TotalSeconds: < 1 } some => some.TotalMilliseconds.ToString("0 'ms'", CultureInfo.InvariantCulture),
        { } some => some.TotalSeconds.ToString("0.0 's'", CultureInfo.InvariantCulture),
    };

    private static IEnumerable<string> Broken(Outcome outcome)
        => outcome.Scenario.Broken(outcome).Select(what => $"{outcome.Scenario.Title}, {outcome.Entry.Name}: {what}");

    private static void PrintMarkdown(IReadOnlyList<Outcome> outcomes)
    {
        string[] names = ["scenario", "side", .. _numbers];
        Console.WriteLine(Line(names));
        Console.WriteLine($"|---|---|{string.Concat(_numbers.Select(_ => "---:|"))}");
        foreach (var outcome in outcomes)
        {
            Console.WriteLine(Line([outcome.Scenario.Title, outcome.Entry.Name, .. Cells(outcome).Select(cell => cell.Text)]));
        }

        static string Line(IEnumerable<string> cells) => $"| {string.Join(" | ", cells).ReplaceLineEndings(" ")} |";
    }

    private static Table Frame(IReadOnlyList<Outcome> outcomes)
    {
        var table = new Table { ShowRowSeparators = true }.Border(TableBorder.Rounded).AddColumn("scenario").AddColumn("side");
        foreach (var number in _numbers)
        {
            table.AddColumn(new TableColumn(number).RightAligned());
        }

        foreach (var outcome in outcomes)
        {
            var side = new Text(outcome.Entry.Name, outcome.Entry.KeepsPromises ? new Style(Color.Green) : Style.Plain);
            table.AddRow([new Text(outcome.Scenario.Title), side, .. Cells(outcome).Select(cell => new Text(cell.Text, cell.IsAlarm ? new Style(Color.Red) : Style.Plain))]);
        }

        return table;
    }

    private static (string Text, bool IsAlarm)[] Cells(Outcome outcome) =>
        [
            (Number(outcome.Requests.Count), false),
            (Number(outcome.FailedRents), outcome.FailedRents > 0),
            (Number(outcome.FailedCommands), outcome.FailedCommands > 0),
            (Duration(outcome.LongestWait), false),
            (Duration(outcome.Gap), false),
            (Duration(outcome.FirstSuccess), outcome.FirstSuccess is null),
            (outcome.LastFailure is { } last ? Duration(last) : "none", false),
            ($"{Number(outcome.HungRents)} / {Number(outcome.HungCommands)}", outcome.HungRents + outcome.HungCommands > 0),
            ($"{Number(outcome.AttemptsPerSecondDuring)} / {Number(outcome.AttemptsPerSecondAfter)}", false),
            (FailedLate(outcome), false),
            (Duration(outcome.Lag), false),
        ];

    private static string FailedLate(Outcome outcome)
    {
        TimeSpan[] times = [.. outcome.FailedLate.Select(request => request.Wait(outcome.End)).Order()];
        return times.Length == 0
            ? "-"
            : $"{Number(times.Length)} / {Number(times.Count(time => time < TimeSpan.FromMilliseconds(1)))},\n"
                + $"{Duration(times[times.Length / 2])} / {Duration(times[times.Length * 99 / 100])}";
    }

    private static string Kind(Request request)
    {
        var failure = request.Failure!;
        var state = failure is PostgresException { SqlState: var code } ? $" {code}" : "";
        var cause = failure.InnerException is { } inner ? $" <- {inner.GetType().Name}" : "";
        var message = failure switch
        {
            // Has numbers in it.
            PoolException => "",
            PostgresException refused => $": {refused.MessageText}",
            _ => $": {failure.Message}",
        };
        return $"{(request.RentFailed ? "rent" : "command")}, {failure.GetType().Name}{state}{cause}{message}";
    }

    private static string Number(int number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
