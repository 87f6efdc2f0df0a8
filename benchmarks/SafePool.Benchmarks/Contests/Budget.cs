using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace SafePool.Benchmarks.Contests;

/// <summary>A line of benchmarks/budget.json: what a contender reached, and may not lose again. It may only get tighter.</summary>
/// <param name="Contest">Which contest.</param>
/// <param name="Contender">Who.</param>
/// <param name="Ratio">The most that its operations may take, compared with the baseline's.</param>
/// <param name="Fairness">The least that its slowest worker must do, as a share of its fastest.</param>
/// <param name="MoreBytes">What an operation may allocate more than the baseline's.</param>
internal sealed record Budget(string Contest, string Contender, double? Ratio = null, double? Fairness = null, double? MoreBytes = null)
{
    public static string Header => $"| contest | contender | measured | budget | kept |{Environment.NewLine}|---|---|---|---|---|";

    public static async Task<IReadOnlyList<Budget>> ReadAsync([CallerFilePath] string here = "")
    {
        var file = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "budget.json"));
        await using var stream = File.OpenRead(file);
        return await JsonSerializer.DeserializeAsync<Budget[]>(stream) ?? [];
    }

    /// <summary>Broken when a ratio is beyond it in nine of ten rounds: less is noise.</summary>
    public (bool IsKept, string Says) Judge(IReadOnlyList<Standing> standings)
    {
        var mine = standings.Single(standing => standing.Name == Contender);
        var moreBytes = mine.Bytes - standings[0].Bytes;
        var isKept = (Ratio is not { } ratio || mine.Spread.Low <= ratio)
            && (Fairness is not { } fairness || mine.Fairness >= fairness)
            && (MoreBytes is not { } bytes || moreBytes <= bytes);
        var measured = string.Create(CultureInfo.InvariantCulture, $"{mine.Ratio:0.00} ({mine.Spread.Low:0.00} / {mine.Spread.High:0.00}), fairness {mine.Fairness:0.00}, {moreBytes:+0;-0;0} B");
        var allowed = string.Create(CultureInfo.InvariantCulture, $"{Ratio:0.00}{(Fairness is null ? "" : ", fairness ")}{Fairness:0.00}{(MoreBytes is null ? "" : ", ")}{MoreBytes:+0;-0;0}{(MoreBytes is null ? "" : " B")}");
        return (isKept, $"| {Contest} | {Contender} | {measured} | {allowed} | {(isKept ? "yes" : "NO")} |");
    }
}
