using System.Globalization;
using Spectre.Console;

namespace SafePool.Samples.Exhaustion;

/// <summary>The table at the end.</summary>
internal static class Report
{
    private const int LongestMessage = 330;
    private const int WidthOfSide = 24;

    public static void Print(IAnsiConsole console, IReadOnlyList<Outcome> outcomes)
    {
        var table = new Table { ShowRowSeparators = true }.Border(TableBorder.Rounded);
        table.AddColumn("scenario").AddColumn(new TableColumn("side").Width(WidthOfSide));
        foreach (var number in (string[])["served", "failed", "recovered", "places\nback", "longest\nwait"])
        {
            table.AddColumn(new TableColumn(number).RightAligned());
        }

        table.AddColumn("what the message said");
        foreach (var group in outcomes.GroupBy(outcome => outcome.Scenario))
        {
            var title = group.Key.Title;
            foreach (var outcome in group)
            {
                AddRow(table, title, outcome);
                title = "";
            }
        }

        console.Write(table);
    }

    /// <summary>Prints the verdict.</summary>
    /// <returns>The exit code.</returns>
    public static int Conclude(IAnsiConsole console, IReadOnlyList<Outcome> outcomes, TimeSpan elapsed)
    {
        string[] defects = [.. outcomes.SelectMany(outcome => outcome.Defects())];
        foreach (var defect in defects)
        {
            console.WriteLine($"DEFECT {defect}", new Style(Color.Red));
        }

        console.WriteLine(defects.Length == 0
            ? $"SafePool lost nothing: every place came back, and nothing failed that should not. {elapsed.TotalSeconds:0} s."
            : $"Defects: {defects.Length}, see above. {elapsed.TotalSeconds:0} s.");
        return defects.Length == 0 ? 0 : 1;
    }

    private static void AddRow(Table table, string title, Outcome outcome)
    {
        var tally = outcome.Tally;
        table.AddRow(
            new Text(title),
            new Text(outcome.Contender.Name, outcome.Contender.MustLoseNothing ? new Style(Color.Green) : Style.Plain),
            new Text(Number(tally.Served)),
            new Text(Number(tally.Failed), Alarm(tally.Failed > 0)),
            new Text(Number(outcome.Recovered)),
            new Text($"{outcome.PlacesBack} of {outcome.Size.Places}", Alarm(outcome.PlacesBack < outcome.Size.Places)),
            new Text(Duration(tally.LongestWait)),
            new Text(Words(outcome)));
    }

    private static string Words(Outcome outcome)
    {
        var notes = outcome.Tally.Notes;
        IEnumerable<string> words = outcome.Message is { } message ? [Trim(message), .. notes] : notes;
        return string.Join('\n', words.DefaultIfEmpty("-"));
    }

    /// <summary>The first sentence, and the next ones as far as they fit.</summary>
    private static string Trim(string message)
    {
        var sentences = message.Split(". ");
        var text = sentences[0];
        foreach (var sentence in sentences.Skip(1).TakeWhile(sentence => text.Length + sentence.Length + 2 <= LongestMessage))
        {
            text = $"{text}. {sentence}";
        }

        text = text.Length <= LongestMessage ? text : $"{text[..(LongestMessage - 1)]}…";
        return $"\"{text.TrimEnd('.')}.\"";
    }

    private static Style Alarm(bool isOn) => isOn ? new Style(Color.Red) : Style.Plain;

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Duration(TimeSpan time) => time.TotalSeconds < 1 ? $"{time.TotalMilliseconds:0} ms" : $"{time.TotalSeconds:0.0} s";
}
