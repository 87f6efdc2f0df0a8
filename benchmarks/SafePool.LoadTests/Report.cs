using System.Globalization;
using Npgsql;
using Spectre.Console;

namespace SafePool.LoadTests;

/// <summary>The table at the end, and a line for each run.</summary>
internal static class Report
{
    private const int WidthOfFiles = 200;
    private const int MostKindsOfFailures = 4;

    public static IAnsiConsole CreateConsole()
    {
        if (!Console.IsOutputRedirected)
        {
            return AnsiConsole.Console;
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        console.Profile.Width = WidthOfFiles;
        return console;
    }

    public static void Print(IAnsiConsole console, IReadOnlyList<Outcome> outcomes)
    {
        var table = new Table { ShowRowSeparators = true }.Border(TableBorder.Rounded);
        table.AddColumn("scenario").AddColumn("side");
        foreach (var name in (string[])
            [
                "requests", "failed\nrents", "failed\ncommands", "longest\nwait", "nobody\nserved for", "first success\nafter ready", "last failure\nafter ready",
                "hung rents /\ncommands", "connects/s\ndown / after", "failed late:\nall / < 1 ms,\nmedian / p99", "load's\nlag",
            ])
        {
            table.AddColumn(new TableColumn(name).RightAligned());
        }

        foreach (var group in outcomes.GroupBy(outcome => outcome.Scenario))
        {
            var title = group.Key.Title;
            foreach (var outcome in group)
            {
                table.AddRow(Cells(outcome, title));
                title = "";
            }
        }

        console.Write(table);
    }

    /// <summary>Prints the verdict.</summary>
    /// <returns>The exit code.</returns>
    public static int Conclude(IAnsiConsole console, IReadOnlyList<Outcome> outcomes, TimeSpan elapsed)
    {
        string[] broken = [.. outcomes.Where(outcome => outcome.Entry.KeepsPromises).SelectMany(Broken)];
        foreach (var promise in broken)
        {
            console.WriteLine($"BROKEN {promise}", new Style(Color.Red));
        }

        console.WriteLine(broken.Length == 0
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

    private static Text[] Cells(Outcome outcome, string title) =>
        [
            new Text(title),
            new Text(outcome.Entry.Name, outcome.Entry.KeepsPromises ? new Style(Color.Green) : Style.Plain),
            new Text(Number(outcome.Requests.Count)),
            new Text(Number(outcome.FailedRents), Alarm(outcome.FailedRents > 0)),
            new Text(Number(outcome.FailedCommands), Alarm(outcome.FailedCommands > 0)),
            new Text(Duration(outcome.LongestWait)),
            new Text(Duration(outcome.Gap)),
            new Text(Duration(outcome.FirstSuccess)),
            new Text(outcome.LastFailure is { } last ? Duration(last) : "none"),
            new Text($"{Number(outcome.HungRents)} / {Number(outcome.HungCommands)}", Alarm(outcome.HungRents + outcome.HungCommands > 0)),
            new Text($"{Number(outcome.AttemptsPerSecondDuring)} / {Number(outcome.AttemptsPerSecondAfter)}"),
            new Text(FailedLate(outcome)),
            new Text(Duration(outcome.Lag)),
        ];

    private static string FailedLate(Outcome outcome)
    {
        TimeSpan[] times = [.. outcome.FailedLate.Select(request => request.Wait(outcome.End)).Order()];
        return times.Length == 0
            ? "-"
            : $"{Number(times.Length)} / {Number(times.Count(time => time < TimeSpan.FromMilliseconds(1)))}\n"
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

    private static Style Alarm(bool isOn) => isOn ? new Style(Color.Red) : Style.Plain;

    private static string Number(int number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
