using Spectre.Console;

namespace SafePool.Samples.Exhaustion;

/// <summary>The terminal, or the file that output goes to.</summary>
internal static class Screen
{
    private const int WidthOfFiles = 160;

    public static IAnsiConsole Create()
    {
        if (!Console.IsOutputRedirected)
        {
            return AnsiConsole.Console;
        }

        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        console.Profile.Width = WidthOfFiles;
        return console;
    }

    /// <summary>Shows what is under way, on a terminal only, and what is done.</summary>
    public static Task<T> ShowAsync<T>(IAnsiConsole console, Func<Action<string>, Action<string>, Task<T>> work)
        => Console.IsOutputRedirected
            ? work(_ => { }, console.WriteLine)
            : console.Status().StartAsync("…", status => work(text => status.Status(text.EscapeMarkup()), console.WriteLine));
}
