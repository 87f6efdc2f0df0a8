namespace SafePool.Benchmarks.Contests;

/// <summary>Runs contests and holds them against what was reached before.</summary>
internal static class Summary
{
    /// <summary>The rest of the command line: names of contests, or nothing for all that have a budget.</summary>
    public static async Task<int> RunAsync(IReadOnlyList<string> names)
    {
        var budget = await Budget.ReadAsync();
        var chosen = names.Count > 0 ? names : [.. budget.Select(line => line.Contest).Distinct()];
        if (chosen.FirstOrDefault(name => !Catalog.All.ContainsKey(name)) is { } unknown)
        {
            await Console.Error.WriteLineAsync($"There is no contest '{unknown}'. There are: {string.Join(", ", Catalog.All.Keys)}.");
            return 2;
        }

        await using var arena = await Arena.OpenAsync();
        Console.WriteLine(arena.Description);
        List<string> verdicts = [];
        var isKept = true;
        foreach (var name in chosen)
        {
            await using var contest = await Catalog.All[name](arena);
            var standings = await contest.RunAsync();
            Console.WriteLine($"{Environment.NewLine}{name}{Environment.NewLine}{Environment.NewLine}{Standing.Header}");
            foreach (var standing in standings)
            {
                Console.WriteLine(standing);
            }

            foreach (var line in budget.Where(line => line.Contest == name))
            {
                var (kept, says) = line.Judge(standings);
                isKept &= kept;
                verdicts.Add(says);
            }
        }

        Console.WriteLine($"{Environment.NewLine}{Budget.Header}{Environment.NewLine}{string.Join(Environment.NewLine, verdicts)}");
        return isKept ? 0 : 1;
    }
}
